"""The tokenizer files of a Hugging Face folder, written from a vocabulary of any kind and read back.

``transformers`` 5 builds its T5 tokenizer from tokenizer.json and never looks into spiece.model, so the
pieces, their scores and the character normalisation are copied over; neither transformers nor tokenizers
is needed for it. A vocabulary of bytes needs only the name of its class and the ids of its sentinels, and a
tokenizer.json is what ``transformers`` reads already.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import sentencepiece

from t5lite.core.errors import DataError
from t5lite.core.files import write_bytes, write_json
from t5lite.data.vocabulary import (
    ByteVocabulary,
    SentencePieceVocabulary,
    TokenizerJsonVocabulary,
    Vocabulary,
    find_vocabulary,
)

EOS, UNK, PAD, BOS = "</s>", "<unk>", "<pad>", "<s>"
SPIECE_FILE = "spiece.model"
_CONFIG_FILE = "tokenizer_config.json"
_NAMED = {"eos_token": EOS, "unk_token": UNK, "pad_token": PAD}

# Field numbers of sentencepiece_model.proto.
_MODEL_TRAINER, _MODEL_NORMALIZER = 2, 3
_TRAINER_MODEL_TYPE, _TRAINER_BYTE_FALLBACK, _UNIGRAM = 3, 35, 1
_NORMALIZER_CHARSMAP = 2
_NORMALIZER_FLAGS = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces", 5: "escape_whitespaces"}


def write_tokenizer(vocabulary: Vocabulary, folder: Path) -> None:
    """Write what ``AutoTokenizer`` needs into ``folder``, such as tokenizer.json and tokenizer_config.json.

    ``AutoTokenizer`` then encodes a text to the ids of ``vocabulary.encode``, and adds what its class adds:
    EOS for T5 and ByT5, ``[CLS]`` and ``[SEP]`` for BERT. It deviates where the text itself spells a special
    token (``</s>``, ``<extra_id_0>``): ``AutoTokenizer`` makes it that token, ``Vocabulary.encode`` ordinary
    text. And unlike ``Vocabulary.decode``, it leaves unknown tokens out of a decoded text when it skips
    special tokens.

    Raises:
      DataError: if a SentencePiece model is not unigram, or treats white space other than T5's do.
    """
    match vocabulary:
        case SentencePieceVocabulary():
            _write_sentencepiece(vocabulary, folder)
        case ByteVocabulary():
            _write_bytes_config(vocabulary, folder)
        case TokenizerJsonVocabulary():
            vocabulary.write(folder)
            if _CONFIG_FILE not in vocabulary.files:
                named = {f"{token}_token": name for token, name in vocabulary.special_tokens.items()}
                config = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
                write_json(folder / _CONFIG_FILE, config)
        case _:
            raise TypeError(f"a vocabulary of an unknown class: {type(vocabulary).__name__}")


def read_vocabulary(path: str | Path, extra_ids: int | None = None) -> Vocabulary | None:
    """Return the vocabulary of a Hugging Face folder, or None where it has none that t5lite reads.

    It is bytes where tokenizer_config.json names ``ByT5Tokenizer``, else spiece.model, else tokenizer.json.
    The number of sentinels beside a spiece.model is tokenizer_config.json's ``extra_ids``; where it does not
    say, 100. ``extra_ids`` overrules it.

    Raises:
      DataError: if a file is damaged, or spiece.model has other pad and EOS ids than T5's.
      ConfigError: if ``extra_ids`` contradicts a tokenizer.json.
      UserError: for a tokenizer.json, if the ``tokenizers`` library is missing.
    """
    return find_vocabulary(Path(path), extra_ids)


def _write_bytes_config(vocabulary: ByteVocabulary, folder: Path) -> None:
    specials = _special_ids(vocabulary)
    write_json(
        folder / _CONFIG_FILE,
        {
            "tokenizer_class": "ByT5Tokenizer",
            **_NAMED,
            "extra_ids": vocabulary.extra_ids,
            "additional_special_tokens": _sentinels(vocabulary),
            # Without it, ByT5Tokenizer numbers the sentinels upwards.
            "added_tokens_decoder": {str(index): _added_token(token) for token, index in specials},
            "clean_up_tokenization_spaces": False,
        },
    )


def _write_sentencepiece(vocabulary: SentencePieceVocabulary, folder: Path) -> None:
    charsmap, byte_fallback = _normalization(vocabulary)
    sentinels, by_id = _sentinels(vocabulary), _special_ids(vocabulary)
    assert vocabulary.eos_id is not None  # the class checks it
    decoder = _metaspace()
    if byte_fallback:
        decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, decoder]}

    write_bytes(folder / SPIECE_FILE, vocabulary.model_bytes)
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": index, **_added_token(token)} for token, index in by_id],
            "normalizer": (
                {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
                if charsmap
                else None
            ),
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "WhitespaceSplit"}, _metaspace()],
            },
            "post_processor": _append_eos(vocabulary.eos_id),
            "decoder": decoder,
            "model": {
                "type": "Unigram",
                "unk_id": vocabulary.unk_id,
                "byte_fallback": byte_fallback,
                "vocab": [*_pieces(vocabulary), *((token, 0.0) for token in reversed(sentinels))],
            },
        },
    )
    write_json(
        folder / _CONFIG_FILE,
        {
            "tokenizer_class": "T5Tokenizer",
            **_NAMED,
            "extra_ids": 0 if vocabulary.has_own_sentinels else vocabulary.extra_ids,
            "additional_special_tokens": sentinels,
            "added_tokens_decoder": {str(index): _added_token(token) for token, index in by_id},
            "clean_up_tokenization_spaces": False,
            # Of transformers 4's tokenizer in Python: do not drop the space after a special token.
            "legacy": False,
        },
    )
    write_json(folder / "special_tokens_map.json", {**_NAMED, "additional_special_tokens": sentinels})
    # llama.cpp's converter knows the sentinels from nowhere else.
    added = {token: index for token, index in by_id if token in sentinels}
    write_json(folder / "added_tokens.json", added)


def _sentinels(vocabulary: Vocabulary) -> list[str]:
    return [f"<extra_id_{i}>" for i in range(vocabulary.extra_ids)]


def _special_ids(vocabulary: Vocabulary) -> list[tuple[str, int]]:
    """Return (token, id) of T5's special tokens and the sentinels, by id."""
    ids = {PAD: vocabulary.pad_id, EOS: vocabulary.eos_id, UNK: vocabulary.unk_id, BOS: vocabulary.bos_id}
    ids |= {token: vocabulary.sentinel(i) for i, token in enumerate(_sentinels(vocabulary))}
    return sorted(((token, i) for token, i in ids.items() if i is not None), key=lambda item: item[1])


def _added_token(token: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": token, **flags}


def _metaspace() -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def _append_eos(eos_id: int) -> dict[str, Any]:
    def text(name: str) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": 0}}

    eos = {"SpecialToken": {"id": EOS, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [text("A"), eos],
        "pair": [text("A"), eos, text("B"), eos],
        "special_tokens": {EOS: {"id": EOS, "ids": [eos_id], "tokens": [EOS]}},
    }


def _pieces(vocabulary: SentencePieceVocabulary) -> list[tuple[str, float]]:
    """Return (piece, score) by id, with T5's names for the special pieces."""
    # The stubs of sentencepiece do not know these methods' overloads.
    processor = cast(Any, sentencepiece.SentencePieceProcessor)()
    processor.LoadFromSerializedProto(vocabulary.model_bytes)
    pieces = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(vocabulary.num_pieces)]
    for token, index in _special_ids(vocabulary):
        if index < vocabulary.num_pieces:
            pieces[index] = (token, pieces[index][1])
    return pieces


def _normalization(vocabulary: SentencePieceVocabulary) -> tuple[bytes, bool]:
    """Return the compiled character normalisation and the byte fallback; check that the rest is T5's."""
    model = dict(_proto_fields(vocabulary.model_bytes))
    trainer = dict(_proto_fields(model.get(_MODEL_TRAINER, b"")))
    normalizer = dict(_proto_fields(model.get(_MODEL_NORMALIZER, b"")))
    if trainer.get(_TRAINER_MODEL_TYPE, _UNIGRAM) != _UNIGRAM:
        raise DataError(f"{vocabulary.path} is not a unigram model; only model_type=unigram can be exported")
    for number, name in _NORMALIZER_FLAGS.items():
        if not normalizer.get(number, True):
            raise DataError(f"{vocabulary.path} has {name}=false; only {name}=true can be exported")
    return normalizer.get(_NORMALIZER_CHARSMAP, b""), bool(trainer.get(_TRAINER_BYTE_FALLBACK, False))


def _proto_fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (field number, value) of a serialized protobuf message: ints for varints, bytes for the rest.

    Twenty lines instead of ``sentencepiece_model_pb2``, which refuses every protobuf older than the one it
    was generated by, and so would dictate the user's protobuf.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(message):
        key = varint()
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            yield number, varint()
            continue
        size = {1: 8, 5: 4}.get(wire_type) or varint()
        yield number, message[position : position + size]
        position += size
