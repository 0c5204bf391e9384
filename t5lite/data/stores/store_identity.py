"""What tells the contents of a store from those of another one, by little reading however large it is.

The identity is a digest of the index, which has all counts and sizes, and of the checksums of the pages: of
all of them up to 1 MiB (2 GB of tokens), of a larger store of 64 places spread evenly over them. So it tells
other text, another order and another vocabulary; a page of a large store that has changed alone is found when
it is read, by its own checksum.
"""

import hashlib
import json
from types import ModuleType
from typing import Any

from t5lite.core.errors import DataError
from t5lite.data.stores import pair_store, token_store
from t5lite.data.stores.store_directory import Range, StoreDirectory, open_directory
from t5lite.data.stores.store_index import read_index

_COLUMNS = ("tokens", "document_ends")
_SIDES = ("inputs", "targets")
_PLACES = 64
_PLACE_BYTES = 16 << 10
_SHOWN_DIGITS = 16


def store_identity(path: str) -> str:
    """Return the digest of a store of text or of pairs; a copy of it has the same wherever it lies.

    Raises:
      DataError: if it cannot be read.
    """
    directory = open_directory(path)
    digest = hashlib.sha256()
    try:
        if pair_store.is_pair_store(path):
            index = _add_index(digest, directory, "pairs.json", pair_store)
            sides = (*_SIDES, *[pair_store.LABELS] * pair_store.has_labels(index))
            parts = [directory.child(side) for side in sides]
        else:
            parts = [directory]
        for part in parts:
            _add_index(digest, part, "index.json", token_store)
            for column in _COLUMNS:
                _add_sample(digest, part, f"{column}.crc32")
    except (OSError, ValueError) as error:
        raise DataError(f"the store {directory} cannot be read ({error}); fetch it again") from error
    return digest.hexdigest()[:_SHOWN_DIGITS]


def _add_index(
    digest: "hashlib._Hash", directory: StoreDirectory, file_name: str, kind: ModuleType
) -> dict[str, Any]:
    """Add the values of an index, whatever its spaces and the order of its keys, and return it."""
    index = read_index(directory, file_name, expected_format=kind.FORMAT, version=kind.VERSION)
    digest.update(json.dumps(index, sort_keys=True, separators=(",", ":")).encode())
    return index


def _add_sample(digest: "hashlib._Hash", directory: StoreDirectory, file_name: str) -> None:
    size = directory.size(file_name)
    starts = range(0, size, _PLACE_BYTES)
    if len(starts) > _PLACES:
        starts = [(size - _PLACE_BYTES) * place // (_PLACES - 1) for place in range(_PLACES)]
    digest.update(f"{file_name} {size}".encode())
    for content in directory.ranges([Range(file_name, start, start + _PLACE_BYTES) for start in starts]):
        digest.update(content)
