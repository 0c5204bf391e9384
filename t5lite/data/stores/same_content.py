"""Whether two stores hold the same tokens in the same documents, wherever each of them lies."""

from t5lite.data.stores.pair_store import is_pair_store
from t5lite.data.stores.store_directory import StoreDirectory, open_directory

_SIDES = ("inputs", "targets")
_FILES = ("index.json", "tokens.crc32", "document_ends.crc32")
"""What says of a store's content; the index first, for it is small and mostly differs."""


def same_content(first: str, second: str) -> bool:
    """Return whether two stores hold the same, by their indices and the checksums of their pages.

    Raises:
      OSError: if one of them cannot be read.
      DataError: if nothing opens one of the addresses here.
    """
    if first == second:
        return True
    both = [_token_stores(path) for path in (first, second)]
    return len(both[0]) == len(both[1]) and all(
        one.read(name) == other.read(name) for one, other in zip(*both, strict=True) for name in _FILES
    )


def _token_stores(path: str) -> list[StoreDirectory]:
    directory = open_directory(path)
    return [directory.child(side) for side in _SIDES] if is_pair_store(path) else [directory]
