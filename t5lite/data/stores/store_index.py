"""The JSON index of a store, with the checksum by which it is known to be what was written."""

from collections.abc import Mapping
from typing import Any

from t5lite.core import json_seals
from t5lite.core.errors import DataError
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import no_bucket
from t5lite.data.stores.store_directory import StoreDirectory

REMEDY = "copy the store again or rebuild it with `t5lite prepare`"
_CRC = "index_crc32"
_KINDS = {
    "index.json": "a token store",
    "pairs.json": "a pair store",
    "model.json": "a run directory",
}
"""What a directory is that has a file."""
INDEX_FILES = ("index.json", "pairs.json")
"""Those of stores, in the order in which they are written: a pair store has token stores in it."""
_PREPARED_BY = {"index.json": "text", "pairs.json": "pairs"}


def sealed(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return an index with its checksum."""
    return json_seals.sealed(index, key=_CRC)


def read_index(
    directory: StoreDirectory, file_name: str, *, expected_format: str, version: int
) -> dict[str, Any]:
    """Return the JSON index of a store.

    Raises:
      DataError: if there is none, or it is of another format or version, or not what was written.
    """
    path = directory.name_of(file_name)
    try:
        index = parse_json(directory.read(file_name))
    except OSError as error:
        kind = expected_format.removeprefix("t5lite-").replace("-", " ")
        found = next((name for name in _KINDS if name != file_name and _is_in(name, directory)), None)
        why = f"{file_name} cannot be read ({error.strerror or error})"
        if found:
            why = f"by its {found}, it is {_KINDS[found]}"
        why += no_bucket(str(directory))
        raise DataError(
            f"{directory} is not a {kind}: {why}; give a directory that "
            f"`t5lite prepare {_PREPARED_BY[file_name]}` wrote, such as OUTPUT/train"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); {REMEDY}") from error
    if not isinstance(index, dict) or index.get("format") != expected_format:
        raise DataError(f"{path} does not describe a {expected_format}; {REMEDY}")
    if index.get("version") != version:
        raise DataError(
            f"{path} has format version {index.get('version')}, this t5lite reads {version}; {REMEDY}"
        )
    try:
        return json_seals.unsealed(index, key=_CRC)
    except ValueError as error:
        raise DataError(f"{path}: {error}; {REMEDY}") from error


def _is_in(file_name: str, directory: StoreDirectory) -> bool:
    try:
        directory.size(file_name)
    except OSError:
        return False
    return True
