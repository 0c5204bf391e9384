r"""The wire format of protocol buffers, read and written without their library and without a schema.

The library refuses generated code that is newer than itself, and so would dictate the user's version of it.

>>> message = field(1, b"a") + field(3, 300)
>>> message
b'\n\x01a\x18\xac\x02'
>>> [(each.number, each.value) for each in fields(message)]
[(1, b'a'), (3, 300)]
"""

from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_BITS = 64
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_FIXED = {width: wire for wire, width in _WIDTHS.items()}


class Field(NamedTuple):
    """A field of a message: its value is a number, or bytes (also of fixed width), and what it is made of."""

    number: int
    value: int | bytes
    encoded: bytes


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message in order.

    Raises:
      ValueError, IndexError: if it is none.
    """
    position = 0
    while position < len(message):
        start = position
        tag, position = read_varint(message, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("no field has the number 0")
        if wire == _VARINT:
            value, position = read_varint(message, position)
            yield Field(number, value, message[start:position])
            continue
        if wire == _BYTES:
            length, position = read_varint(message, position)
        elif wire in _WIDTHS:
            length = _WIDTHS[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("the message ends early")
        content = message[position : position + length]
        position += length
        yield Field(number, content, message[start:position])


def field(number: int, value: int | bytes) -> bytes:
    """Return a field of a number, of bytes or of a message."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def fixed_field(number: int, value: bytes) -> bytes:
    """Return a field of 4 or 8 bytes, such as a float or a double."""
    return _varint(number << 3 | _FIXED[len(value)]) + value


def read_varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the number at ``position``, in groups of seven bits, and where it ends.

    Raises:
      ValueError, IndexError: if it has more than 64 bits, or no end.
    """
    value = shift = 0
    while True:
        if shift >= _MAX_BITS:
            raise ValueError("a number of more than 64 bits")
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
