"""The files of a vocabulary of bytes: a BPE without merges, so that every character falls back to its bytes.

transformers' ``ByT5Tokenizer`` appends EOS for every architecture, has no mask, and takes a text that spells
``</s>`` for its end.
"""

from t5lite.data.vocabulary import ByteVocabulary
from t5lite.interop.huggingface.tokenizer_files.added_tokens import (
    CONFIG,
    TOKENIZER,
    added_tokens,
    config_json,
    encoded,
    special_names,
)
from t5lite.interop.huggingface.tokenizer_files.framing import Framing

_NUM_BYTES = 256


def byte_files(vocabulary: ByteVocabulary, framing: Framing) -> dict[str, bytes]:
    """Return the files by name; bytes.json tells t5lite that it is bytes."""
    names = special_names(vocabulary)
    first = int(vocabulary.encode("\0")[0])
    names |= {first + byte: f"<0x{byte:02X}>" for byte in range(_NUM_BYTES)}
    added = added_tokens(vocabulary, framing, strip=False)
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": framing.post_processor(names),
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": names[vocabulary.special_id("unk", needed_for="a tokenizer.json")],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {name: index for index, name in sorted(names.items())},
            "merges": [],
        },
    }
    config = config_json(added, framing, extra_ids=vocabulary.extra_ids)
    return {**vocabulary.files, TOKENIZER: encoded(tokenizer), CONFIG: encoded(config)}
