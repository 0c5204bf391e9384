"""Reads ``tf.train.Example`` without TensorFlow: what TFDS and seqio write into ArrayRecord and TFRecord."""

import itertools

from t5lite.core.protobuf import fields

_BYTES_LIST = 1  # fields of a Feature
_NUMBERS = {2: 0.0, 3: 0}


def parse_example(content: bytes) -> dict[str, bytes | float | None] | None:
    """Return each feature's first value, None where it has none; None if ``content`` is no Example.

    Of numbers, only that they are some: 0 stands for them.

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
                    value = _message(first.value) if kind == _BYTES_LIST else _NUMBERS[kind]
                    parsed[name.decode("utf-8")] = value
        return parsed
    except (ValueError, IndexError, KeyError):
        return None


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value
