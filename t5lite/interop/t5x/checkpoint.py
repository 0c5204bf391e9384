"""The layouts in which T5X and Orbax leave a train state, seen alike: leaves by name, read when asked for.

T5X's own: ``checkpoint_<step>/checkpoint`` is a Flax msgpack ``{version, optimizer: {state, target}}``; a
leaf in it is the array itself, or the JSON of a TensorStore zarr array in a directory beside it. T5X with
Orbax: ``checkpoint_<step>/state/`` has a zarr directory for each leaf, beside such a msgpack or not, or
everything in one OCDBT database.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5lite.core.errors import CheckpointError, DataError
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import local_path
from t5lite.interop.t5x.leaves import InlineLeaf, Leaf
from t5lite.interop.t5x.msgpack_file import FileArray, read_msgpack
from t5lite.interop.t5x.stores import OCDBT, Stores

logger = logging.getLogger(__name__)

MARK = "checkpoint"
"""T5X's msgpack file."""
_STEP = re.compile(r"checkpoint_(\d+)")
_TARGET = "target/"
_STATE, _METADATA = "state", "_METADATA"
_PLACEHOLDER = "PLACEHOLDER://"
_TENSORFLOW = b"model_checkpoint_path"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint, open for reading.

    Attributes:
      path: its directory.
      layout: what it is, in words.
      target: the model's parameters by their T5X name without ``target/``; opened when called.
      left: names of everything else: step, optimizer state.
    """

    path: Path
    layout: str
    target: dict[str, Callable[[], Leaf]]
    left: tuple[str, ...]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a ``checkpoint_<step>`` directory, its file ``checkpoint``, or the newest of a directory of them.

    Raises:
      CheckpointError: if there is none, or its index is missing or damaged.
    """
    directory = _find(Path(path))
    for candidate in (directory, directory / _STATE):
        if any((candidate / name).is_file() for name in (MARK, _METADATA, OCDBT)):
            return _open(candidate)
    found = sorted(entry.name for entry in directory.iterdir())[:8]
    raise CheckpointError(
        f"{directory} holds no T5X checkpoint: neither a file {MARK!r}, nor Orbax's {_METADATA} (also in "
        f"{_STATE}/), nor directories checkpoint_<step>; found: {', '.join(found) or 'nothing'}"
    )


def _find(path: Path) -> Path:
    try:
        path = local_path(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    if path.is_file():
        return path.parent
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist; give a T5X checkpoint_<step> directory")
    if (path / MARK).is_file() or (path / _STATE).is_dir():
        return path
    steps = {int(m[1]): entry for entry in path.iterdir() if (m := _STEP.fullmatch(entry.name))}
    if not steps:
        return path
    newest = steps[max(steps)]
    if len(steps) > 1:
        logger.info("%s holds %d checkpoints; reading the newest, %s", path, len(steps), newest.name)
    return newest


def _open(directory: Path) -> Checkpoint:
    stores = Stores(directory)
    version, leaves = None, {name: stores.opener(name, stored) for name, stored in stores.names()}
    if (directory / MARK).is_file():
        version, tree = _read_state(directory / MARK)
        leaves = {name: _opener(name, value, stores) for name, value in _flatten(tree)}
    listed = _names_in_metadata(directory / _METADATA)
    if absent := [name for name in listed if name.startswith(_TARGET) and name not in leaves]:
        raise CheckpointError(
            f"{directory} lacks {', '.join(absent[:8])}, which {_METADATA} lists; copy the checkpoint again"
        )
    target = {name.removeprefix(_TARGET): leaf for name, leaf in leaves.items() if name.startswith(_TARGET)}
    left = tuple(name for name in leaves if not name.startswith(_TARGET))
    if not target:
        raise CheckpointError(
            f"{directory} holds no 'target' (the parameters of a model); found: "
            f"{', '.join(left[:8]) or 'no arrays'}"
        )
    layout = f"T5X msgpack, version {version}" if version else f"Orbax, {stores.layout}"
    return Checkpoint(path=directory, layout=layout, target=target, left=left)


def _read_state(file: Path) -> tuple[int | None, dict[str, Any]]:
    """Return the version of a T5X msgpack (None for Orbax's aggregate file) and the train state in it."""
    with file.open("rb") as stream:
        if stream.read(len(_TENSORFLOW)) == _TENSORFLOW:
            raise CheckpointError(
                f"{file.parent} is a TensorFlow checkpoint (Mesh TensorFlow T5), not one of T5X; there is a "
                "T5X and a Hugging Face version of every released T5"
            )
    content = read_msgpack(file)
    version = None
    if isinstance(content, dict) and "optimizer" in content:
        version, content = content.get("version"), content["optimizer"]
        if version not in (2, 3):
            raise CheckpointError(f"{file} has version {version!r}; readable: 2 and 3")
    if not isinstance(content, dict) or not isinstance(content.get("target"), dict):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{file} holds no 'target' (the parameters of a model); found: {found}")
    return version, content


def _flatten(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and not {"driver", "kvstore"} <= value.keys():
            yield from _flatten(value, f"{path}/")
        else:
            yield path, value


def _opener(name: str, value: Any, stores: Stores) -> Callable[[], Leaf]:
    """Return what opens the leaf that stands as ``value`` in the msgpack."""
    if isinstance(value, FileArray):
        return lambda: InlineLeaf(name, value)
    if isinstance(value, str) and value.startswith(_PLACEHOLDER):
        return stores.opener(name, value.removeprefix(_PLACEHOLDER))
    if isinstance(value, dict):
        kvstore = value["kvstore"] if isinstance(value["kvstore"], dict) else {}
        stored = kvstore.get("path", value.get("path"))  # beside the kvstore before TensorStore 0.1.14
        if value["driver"] == "zarr" and isinstance(stored, str):
            metadata = value.get("metadata")
            shape = metadata.get("shape") if isinstance(metadata, dict) else None
            return stores.opener(name, stored.rstrip("/"), shape)

    def refuse() -> Leaf:
        raise CheckpointError(f"leaf {name} is neither an array nor a TensorStore zarr spec, but {value!r}")

    return refuse


def _names_in_metadata(file: Path) -> list[str]:
    """Return the names of the arrays that Orbax's tree metadata lists; none where there is no such file."""
    if not file.is_file():
        return []
    try:
        entries = load_json(file)["tree_metadata"].values()
        return [
            "/".join(str(key["key"]) for key in entry["key_metadata"])
            for entry in entries
            if not entry["value_metadata"].get("skip_deserialize")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} is damaged ({error!r}); copy the checkpoint again") from error
