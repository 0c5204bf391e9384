"""Reads ``tf.train.Example`` without TensorFlow: what TFDS and seqio write into ArrayRecord and TFRecord."""

import itertools

from t5lite.core.protobuf import fields, read_varint

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of a Feature


def parse_example(content: bytes) -> dict[str, bytes | float | None] | None:
    """Return each feature's first value, None where it has none; None if ``content`` is no Example.

    Of floats, only that they are some: 0.0 stands for them.

    ``Example{1: Features{1: map entry {1: name, 2: Feature{1: BytesList{1: value}}}}}``
    """
    try:
        examples = list(fields(content))
        if [each.number for each in examples] != [1]:
            return None
        parsed: dict[str, bytes | float | None] = {}
        for entry in fields(_message(examples[0].value)):
            name, feature = (_message(each.value) for each in fields(_message(entry.value)))
            parsed[name.decode("utf-8")] = None
            for kind, values, _ in fields(feature):
                for first in itertools.islice(fields(_message(values)), 1):
                    parsed[name.decode("utf-8")] = _VALUES[kind](first.value)
        return parsed
    except (ValueError, IndexError, KeyError):
        return None


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _first_integer(value: bytes | int) -> int | None:
    """Return a number, or the first of those that are packed, in two's complement."""
    if value == b"":
        return None
    number = value if isinstance(value, int) else read_varint(value, 0)[0]
    return number - (1 << 64) if number >> 63 else number


_VALUES = {_BYTES_LIST: _message, _FLOAT_LIST: lambda value: 0.0, _INT64_LIST: _first_integer}
