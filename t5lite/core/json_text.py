"""JSON of unknown origin."""

import json
from typing import Any

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.storage.addresses import ReadablePath

MAX_BYTES = 64 << 20
"""Of a JSON file that is read whole: the index of a model of a hundred thousand tensors has a sixth of it."""
_MAX_DEPTH = 64


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what ``json.loads`` does.

    Raises:
      ValueError: if it is not JSON, or nested so deeply that walking through it would exhaust the stack.
    """
    try:
        value = json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value)
    return value


def load_json(path: ReadablePath, **options: Any) -> Any:
    """Return what a file says.

    Raises:
      OSError: if it cannot be read, or is larger than ``MAX_BYTES``.
      ValueError: as ``parse_json``.
    """
    return parse_json(read_at_most(path, MAX_BYTES), **options)


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")
