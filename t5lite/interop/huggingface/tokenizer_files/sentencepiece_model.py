"""What a SentencePiece model says of itself beyond its processor's methods: flags, kinds of pieces."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from t5lite.core.errors import DataError
from t5lite.core.protobuf import fields
from t5lite.core.storage.addresses import StoragePath

# Field numbers of sentencepiece_model.proto.
_MODEL_PIECE, _MODEL_TRAINER, _MODEL_NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_TRAINER_MODEL_TYPE, _TRAINER_SUFFIX, _TRAINER_BYTE_FALLBACK = 3, 24, 35
_NORMALIZER_CHARSMAP, _NORMALIZER_PREFIX, _NORMALIZER_STRIP, _NORMALIZER_ESCAPE = 2, 3, 4, 5


class ModelType(IntEnum):
    """``TrainerSpec.ModelType``: how a text is cut into pieces."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


class PieceType(IntEnum):
    """``ModelProto.SentencePiece.Type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One piece of a model; the score is a log probability (of BPE, minus the rank of its merge)."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True, kw_only=True)
class Model:
    """A SentencePiece model.

    Attributes:
      type: how it cuts a text.
      pieces: by id.
      charsmap: the compiled character normalisation, empty for none.
      byte_fallback: whether a character without a piece becomes its bytes.
      dummy_prefix: whether a space is put before every text.
      strips_spaces: whether spaces at the ends are removed, and others made single.
    """

    type: ModelType
    pieces: tuple[Piece, ...]
    charsmap: bytes
    byte_fallback: bool
    dummy_prefix: bool
    strips_spaces: bool


def read_model(content: bytes, path: StoragePath) -> Model:
    """Return what a model file holds.

    Raises:
      DataError: if it puts spaces where no tokenizer of Hugging Face's can.
    """
    pieces = tuple(_piece(each.value) for each in fields(content) if each.number == _MODEL_PIECE)
    model = _values(content)
    trainer, normalizer = (_values(model.get(part, b"")) for part in (_MODEL_TRAINER, _MODEL_NORMALIZER))
    if trainer.get(_TRAINER_SUFFIX, False):
        raise DataError(f"{path} has treat_whitespace_as_suffix=true; only false can be exported")
    if not normalizer.get(_NORMALIZER_ESCAPE, True):
        raise DataError(f"{path} has escape_whitespaces=false; only true can be exported")
    return Model(
        type=ModelType(trainer.get(_TRAINER_MODEL_TYPE, ModelType.UNIGRAM)),
        pieces=pieces,
        charsmap=normalizer.get(_NORMALIZER_CHARSMAP, b""),
        byte_fallback=bool(trainer.get(_TRAINER_BYTE_FALLBACK, False)),
        dummy_prefix=bool(normalizer.get(_NORMALIZER_PREFIX, True)),
        strips_spaces=bool(normalizer.get(_NORMALIZER_STRIP, True)),
    )


def _piece(message: Any) -> Piece:
    values = _values(message)
    score = struct.unpack("<f", values.get(_PIECE_SCORE, bytes(4)))[0]
    return Piece(
        values.get(_PIECE_TEXT, b"").decode(), score, PieceType(values.get(_PIECE_TYPE, PieceType.NORMAL))
    )


def _values(message: bytes) -> dict[int, Any]:
    """Return the last value of each field."""
    return {each.number: each.value for each in fields(message)}
