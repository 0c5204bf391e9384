"""Class names and ids that end a text, out of config.json and generation_config.json and into them."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t5lite.core.errors import CheckpointError
from t5lite.interop.huggingface.stored_tensors import read_json
from t5lite.interop.trees import listed
from t5lite.interop.usage import Usage

logger = logging.getLogger(__name__)

_IDS = ("bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id")
_USED_OR_IDLE = frozenset({*_IDS, "transformers_version", "use_cache"})
"""Of generation_config.json: what configuration and vocabulary say, or has no part in the text."""
_LABELS, _EOS = "id2label", "eos_token_id"


def read_usage(path: str | Path) -> Usage:
    """Return what a folder says of the use of its model; generation_config.json goes before config.json.

    What else generation_config.json says of writing is for an export to give back, and a warning names it.

    Raises:
      CheckpointError: if a file is damaged, or says something that is no names and no ids.
    """
    folder = Path(path)
    config = read_json(folder / "config.json")
    said = read_generation(folder)
    generation = {key: value for key, value in said.items() if _steers(key, value)}
    if generation:
        logger.warning(
            "generation_config.json says %s, which an export gives back as it is; `t5lite generate` does not "
            "go by it, and takes the like as options",
            listed([f"{key}={value!r}" for key, value in generation.items()], 20),
        )
    eos = said.get(_EOS)
    return Usage(
        class_names=_class_names(config.get(_LABELS)),
        eos_ids=ids_of_eos(config.get(_EOS) if eos is None else eos),
        generation=generation,
    )


def read_generation(folder: Path) -> dict[str, Any]:
    """Return what a folder's generation_config.json says; nothing where there is none.

    Raises:
      CheckpointError: if it is damaged.
    """
    path = folder / "generation_config.json"
    return read_json(path) if path.is_file() else {}


def _steers(key: str, value: Any) -> bool:
    """Return whether an entry has a part in writing; null and false switch nothing on."""
    return value is not None and value is not False and not key.startswith("_") and key not in _USED_OR_IDLE


def config_with(values: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    """Return config.json's content with the names of the classes, where it has classes."""
    if _LABELS not in values or not usage.class_names:
        return dict(values)
    names = usage.names(len(values[_LABELS]))
    labels = {
        _LABELS: {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    return {**values, **labels}


def generation_with(values: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    """Return generation_config.json's content: all ids that end a text, and what an import brought."""
    values = {**usage.generation, **values}
    first = values.get(_EOS)
    ids = list(dict.fromkeys([*([] if first is None else [first]), *usage.eos_ids]))
    return {**values, _EOS: ids} if usage.eos_ids else dict(values)


def _class_names(labels: Any) -> tuple[str, ...]:
    if labels is None:
        return ()
    if isinstance(labels, list):
        labels = {str(number): name for number, name in enumerate(labels)}
    if not isinstance(labels, dict) or not all(
        str(key).isdecimal() and isinstance(name, str | int) for key, name in labels.items()
    ):
        raise CheckpointError(f"config.json: {_LABELS}={labels!r} must give a name to each number of a class")
    numbered = {int(key): str(name) for key, name in labels.items()}
    return tuple(numbered.get(i, f"LABEL_{i}") for i in range(max(numbered, default=-1) + 1))


def ids_of_eos(value: Any) -> tuple[int, ...]:
    """Return the ids that a value of ``eos_token_id`` lists: none, one or several.

    Raises:
      CheckpointError: if it is something else.
    """
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in values):
        raise CheckpointError(f"{_EOS}={value!r} must be an id or several")
    return tuple(values)
