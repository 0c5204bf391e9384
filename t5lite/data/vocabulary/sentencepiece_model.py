"""The serialized protobuf of a SentencePiece model, as far as types of pieces are read and changed."""

from collections.abc import Collection, Iterator

from t5lite.core.errors import DataError
from t5lite.core.protobuf import Field, field, fields

_PIECES = 1
_TYPE = 3
CONTROL, _USER_DEFINED = 3, 4
"""Of ``ModelProto.SentencePiece.Type``: what no text is cut into, and what is cut out of every text."""


def as_control_pieces(model: bytes, ids: Collection[int]) -> bytes:
    r"""Return the model with the pieces ``ids`` made control pieces, which keep their ids.

    >>> as_control_pieces(b"\x0a\x03\x0a\x01a", {0})  # a piece "a"
    b'\n\x05\n\x01a\x18\x03'
    """
    changed = bytearray()
    index = 0
    for number, value, encoded in _fields(model):
        if number == _PIECES and isinstance(value, bytes):
            if index in ids:
                # A field that is there twice counts as it was last.
                encoded = field(_PIECES, value + field(_TYPE, CONTROL))
            index += 1
        changed += encoded
    return bytes(changed)


def user_defined_pieces(model: bytes) -> set[int]:
    """Return the ids of the pieces that SentencePiece cuts out of every text."""
    pieces = (value for number, value, _ in _fields(model) if number == _PIECES and isinstance(value, bytes))
    kinds = ({number: value for number, value, _ in _fields(piece)}.get(_TYPE) for piece in pieces)
    return {index for index, kind in enumerate(kinds) if kind == _USER_DEFINED}


def _fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message that the library has read, which knows more than ``core.protobuf``."""
    try:
        yield from fields(message)
    except (ValueError, IndexError) as error:
        raise DataError(f"the SentencePiece model is damaged ({error}); fetch it again") from error
