"""What written tokenizers have alike: added tokens, tokenizer_config.json, names of special tokens."""

import json
from collections.abc import Mapping
from typing import Any

from t5lite.data.vocabulary import Vocabulary
from t5lite.interop.huggingface.tokenizer_files.framing import Framing

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
NAMES = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>", "bos": "<s>"}
"""T5's names of special tokens."""


def special_names(vocabulary: Vocabulary) -> dict[int, str]:
    """Return the names of T5's special tokens and of the sentinels, by id."""
    ids = {getattr(vocabulary, f"{token}_id"): name for token, name in NAMES.items()}
    sentinels = {vocabulary.sentinel(i): f"<extra_id_{i}>" for i in range(vocabulary.extra_ids)}
    return {index: name for index, name in (ids | sentinels).items() if index is not None}


def added_tokens(vocabulary: Vocabulary, framing: Framing, *, strip: bool) -> list[dict[str, Any]]:
    """Return tokenizer.json's ``added_tokens``: those that are found in a text before it is cut.

    Only sentinels are, as in prompts here: they are not "special", which ``split_special_tokens`` makes
    ordinary text, unless they stand for [MASK], which a text must be able to spell.

    Args:
      vocabulary: whose tokens they are.
      framing: which of them are special.
      strip: whether white space around a sentinel is none of the text's.
    """
    special = set(framing.special.values())
    return [
        {
            "id": index,
            "content": name,
            "single_word": False,
            "lstrip": strip and name not in NAMES.values(),
            "rstrip": strip and name not in NAMES.values(),
            "normalized": False,
            "special": index in special,
        }
        for index, name in sorted(special_names(vocabulary).items())
    ]


def config_json(added: list[dict[str, Any]], framing: Framing, **others: Any) -> dict[str, Any]:
    """Return tokenizer_config.json: the class that takes tokenizer.json as it is, and the tokens' names."""
    by_id = {each["id"]: {key: value for key, value in each.items() if key != "id"} for each in added}
    named = {
        f"{name}_token": {"__type": "AddedToken", **by_id[index]}
        if by_id[index]["lstrip"]
        else by_id[index]["content"]
        for name, index in framing.special.items()
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        **others,
        "added_tokens_decoder": {str(index): token for index, token in by_id.items()},
        "model_input_names": framing.model_inputs,
        "split_special_tokens": not framing.parses_special,
        "clean_up_tokenization_spaces": False,
    }


def encoded(content: Mapping[str, Any]) -> bytes:
    """Return a JSON file's content."""
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
