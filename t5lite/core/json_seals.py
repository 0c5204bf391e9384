"""JSON objects that carry a checksum of themselves, by which it is known whether they are what was written.

It is of the values, not of the file: sorted by key and without white space.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any


def sealed(content: Mapping[str, Any], *, key: str) -> dict[str, Any]:
    """Return JSON-able ``content`` with its checksum under ``key``."""
    content = json.loads(json.dumps(content))  # what a reader will have: names are strings
    return {**content, key: _crc32(content)}


def unsealed(content: Mapping[str, Any], *, key: str) -> dict[str, Any]:
    """Return ``content`` without its checksum; some was written before there was one.

    Raises:
      ValueError: if the checksum is of something else.
    """
    content = dict(content)
    crc = content.pop(key, None)
    if crc is not None and crc != _crc32(content):
        raise ValueError("it does not match its CRC-32: it was damaged or changed by hand")
    return content


def _crc32(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
