"""What the stores of a run held, as its checkpoints keep it."""

from collections.abc import Mapping
from typing import Any

from t5lite.data.stores.store_identity import store_identity
from t5lite.run_config import RunConfig

_KEY = "store_contents"


def store_contents(config: RunConfig) -> dict[str, str]:
    """Return the digest of each store of ``config``, by field; errors as of ``store_identity``."""
    return {".".join(field): store_identity(place) for field, place in config.stores.items()}


def contents_json(contents: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint's metadata says of them."""
    return {_KEY: dict(contents)}


def contents_from_json(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``contents_json`` said among ``metadata``; nothing where it did not.

    Raises:
      ValueError: if it is damaged.
    """
    contents = metadata.get(_KEY, {})
    if not isinstance(contents, dict) or not all(isinstance(value, str) for value in contents.values()):
        raise ValueError(f"its {_KEY} are no digests by field")
    return contents
