"""The files of a vocabulary that is a tokenizer.json: itself, under the class that takes it as it is.

Classes with a name of their own (``BertTokenizer``, ``GPT2Tokenizer``, …) build a tokenizer from its pieces
alone and put their own rules in place of the file's.
"""

import json
from typing import Any

from t5lite.data.vocabulary import Frame, TokenizerJsonVocabulary
from t5lite.data.vocabulary.chat_templates import CHAT_TEMPLATE
from t5lite.interop.huggingface.tokenizer_files.added_tokens import CONFIG, TOKENIZER, encoded
from t5lite.interop.huggingface.tokenizer_files.framing import Framing

_KEPT = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "chat_template",
    "clean_up_tokenization_spaces",
)
"""Of tokenizer_config.json: what has no part in how a text is cut."""


def tokenizer_json_files(vocabulary: TokenizerJsonVocabulary, framing: Framing) -> dict[str, bytes]:
    """Return the files by name; tokenizer.json is left as it is, if it says what it should."""
    from tokenizers import Tokenizer

    written = vocabulary.files[TOKENIZER]
    tokenizer, as_written = Tokenizer.from_str(vocabulary.rules), Tokenizer.from_str(written.decode())
    as_written.no_padding()
    as_written.no_truncation()
    names = {index: name for name, index in tokenizer.get_vocab(with_added_tokens=True).items()}
    content: dict[str, Any] = json.loads(vocabulary.rules)
    if (vocabulary.own_frame or Frame()) != Frame(framing.before, framing.after):
        content["post_processor"] = framing.post_processor(names)
    if content != json.loads(as_written.to_str()):
        written = encoded(content)
    given = json.loads(vocabulary.files.get(CONFIG, b"{}"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{name}_token": names[index] for name, index in framing.special.items()},
        **{key: given[key] for key in _KEPT if key in given},
        "model_input_names": framing.model_inputs,
    }
    if vocabulary.additional_special_tokens:
        config["additional_special_tokens"] = list(vocabulary.additional_special_tokens)
    template = {name: vocabulary.files[name] for name in (CHAT_TEMPLATE,) if name in vocabulary.files}
    return {TOKENIZER: written, CONFIG: encoded(config), **template}
