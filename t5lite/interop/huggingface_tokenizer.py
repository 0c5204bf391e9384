"""The tokenizer files of a Hugging Face T5 folder, written from a SentencePiece vocabulary and read back.

``transformers`` 5 builds its T5 tokenizer from tokenizer.json and never looks into spiece.model, so the
pieces, their scores and the character normalisation are copied over; neither transformers nor tokenizers
is needed for it.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import sentencepiece

from t5lite.core.errors import CheckpointError, DataError
from t5lite.core.files import write_bytes, write_json
from t5lite.data.vocabulary import Vocabulary

EOS, UNK, PAD = "</s>", "<unk>", "<pad>"
SPIECE_FILE = "spiece.model"
_CONFIG_FILE = "tokenizer_config.json"

# Field numbers of sentencepiece_model.proto.
_MODEL_TRAINER, _MODEL_NORMALIZER = 2, 3
_TRAINER_MODEL_TYPE, _TRAINER_BYTE_FALLBACK, _UNIGRAM = 3, 35, 1
_NORMALIZER_CHARSMAP = 2
_NORMALIZER_FLAGS = {3: "add_dummy_prefix", 4: "remove_extra_whitespaces", 5: "escape_whitespaces"}


def write_tokenizer(vocabulary: Vocabulary, folder: Path) -> None:
    """Write spiece.model, tokenizer.json, tokenizer_config.json and special_tokens_map.json into ``folder``.

    ``AutoTokenizer`` then encodes a text to the ids of ``vocabulary.encode`` plus EOS. It deviates where the
    text itself spells a special token (``</s>``, ``<extra_id_0>``): ``AutoTokenizer`` makes it that token,
    ``Vocabulary.encode`` ordinary text. And unlike ``Vocabulary.decode``, it leaves unknown tokens out of a
    decoded text when it skips special tokens.

    Raises:
      DataError: if the model is not unigram, falls back to bytes, or treats white space other than T5's do.
    """
    charsmap = _normalization(vocabulary)
    sentinels = [f"<extra_id_{i}>" for i in range(vocabulary.extra_ids)]
    specials = {PAD: vocabulary.pad_id, EOS: vocabulary.eos_id, UNK: vocabulary.unk_id}
    specials |= {token: vocabulary.sentinel(i) for i, token in enumerate(sentinels)}
    by_id = sorted(specials.items(), key=lambda item: item[1])
    special_tokens = {"eos_token": EOS, "unk_token": UNK, "pad_token": PAD}

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
            "decoder": _metaspace(),
            "model": {
                "type": "Unigram",
                "unk_id": vocabulary.unk_id,
                "byte_fallback": False,
                "vocab": [*_pieces(vocabulary), *((token, 0.0) for token in reversed(sentinels))],
            },
        },
    )
    write_json(
        folder / _CONFIG_FILE,
        {
            "tokenizer_class": "T5Tokenizer",
            **special_tokens,
            "extra_ids": vocabulary.extra_ids,
            "additional_special_tokens": sentinels,
            "added_tokens_decoder": {str(index): _added_token(token) for token, index in by_id},
            "clean_up_tokenization_spaces": False,
            # Of transformers 4's tokenizer in Python: do not drop the space after a special token.
            "legacy": False,
        },
    )
    write_json(folder / "special_tokens_map.json", {**special_tokens, "additional_special_tokens": sentinels})


def read_vocabulary(path: str | Path) -> Vocabulary | None:
    """Return the SentencePiece vocabulary of a Hugging Face folder, or None where it has no spiece.model.

    The number of sentinels is tokenizer_config.json's ``extra_ids``, 100 where it does not say.

    Raises:
      CheckpointError: if tokenizer_config.json is damaged.
      DataError: if spiece.model is not a vocabulary with T5's special ids.
    """
    folder = Path(path)
    if not (folder / SPIECE_FILE).is_file():
        return None
    extra_ids: Any = 100
    config_file = folder / _CONFIG_FILE
    if config_file.is_file():
        try:
            extra_ids = json.loads(config_file.read_text(encoding="utf-8")).get("extra_ids", 100)
        except (ValueError, AttributeError) as error:
            raise CheckpointError(f"{config_file} is damaged ({error}); fetch the folder again") from error
    if not isinstance(extra_ids, int):
        raise CheckpointError(f"{config_file}: extra_ids={extra_ids!r} must be an integer")
    return Vocabulary(folder / SPIECE_FILE, extra_ids=extra_ids)


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


def _pieces(vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """Return (piece, score) by id, with T5's names for the special pieces."""
    # The stubs of sentencepiece do not know these methods' overloads.
    processor = cast(Any, sentencepiece.SentencePieceProcessor)()
    processor.LoadFromSerializedProto(vocabulary.model_bytes)
    pieces = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(vocabulary.num_pieces)]
    for index, token in ((vocabulary.pad_id, PAD), (vocabulary.eos_id, EOS), (vocabulary.unk_id, UNK)):
        pieces[index] = (token, pieces[index][1])
    return pieces


def _normalization(vocabulary: Vocabulary) -> bytes:
    """Return the compiled character normalisation, after checking that the rest is as T5's is."""
    model = dict(_proto_fields(vocabulary.model_bytes))
    trainer = dict(_proto_fields(model.get(_MODEL_TRAINER, b"")))
    normalizer = dict(_proto_fields(model.get(_MODEL_NORMALIZER, b"")))
    if trainer.get(_TRAINER_MODEL_TYPE, _UNIGRAM) != _UNIGRAM:
        raise DataError(f"{vocabulary.path} is not a unigram model; only model_type=unigram can be exported")
    if trainer.get(_TRAINER_BYTE_FALLBACK, False):
        raise DataError(f"{vocabulary.path} has byte_fallback=true; only byte_fallback=false can be exported")
    for number, name in _NORMALIZER_FLAGS.items():
        if not normalizer.get(number, True):
            raise DataError(f"{vocabulary.path} has {name}=false; only {name}=true can be exported")
    return normalizer.get(_NORMALIZER_CHARSMAP, b"")


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
