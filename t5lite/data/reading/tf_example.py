"""Reads ``tf.train.Example`` without TensorFlow: what TFDS and seqio write into ArrayRecord and TFRecord."""

import itertools
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
_BYTES_LIST = 1  # fields of a Feature
_NUMBERS = {2: 0.0, 3: 0}
_WIDTH = {_FIXED64: 8, _FIXED32: 4}


def parse_example(content: bytes) -> dict[str, bytes | float | None] | None:
    """Return each feature's first value, None where it has none; None if ``content`` is no Example.

    Of numbers, only that they are some: 0 stands for them.

    ``Example{1: Features{1: map entry {1: name, 2: Feature{1: BytesList{1: value}}}}}``
    """
    try:
        examples = list(_fields(content))
        if [number for number, _ in examples] != [1]:
            return None
        parsed: dict[str, bytes | float | None] = {}
        for _, entry in _fields(_message(examples[0][1])):
            name, feature = (_message(value) for _, value in _fields(_message(entry)))
            parsed[name.decode("utf-8")] = None
            for kind, values in _fields(feature):
                for _, value in itertools.islice(_fields(_message(values)), 1):
                    parsed[name.decode("utf-8")] = _message(value) if kind == _BYTES_LIST else _NUMBERS[kind]
        return parsed
    except (ValueError, IndexError, KeyError):
        return None


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield (field number, value) of a protocol buffer message.

    Raises:
      ValueError, IndexError: if it is none.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("no field has the number 0")
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in _WIDTH:
            length = _WIDTH[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("the message ends early")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
