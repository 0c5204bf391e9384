"""Read checkpoints that are on disk: which there are, what is in them, and their arrays.

A checkpoint is the directory ``<directory>/<step>`` with three items: ``state``, the training state as a
nested dict of arrays (``step``, ``params/…``, ``opt_state/…``); ``fingerprints``, JSON, a number per array;
``metadata``, JSON. Any Orbax program can read it; nothing in it refers to Python classes.
"""

import hashlib
import json
import logging
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath

from t5lite.checkpointing import orbax_memory, orbax_on_s3, orbax_threads, tensorstore_requests
from t5lite.checkpointing.fingerprint import fingerprints, fingerprints_once
from t5lite.core.errors import (
    CheckpointError,
    ConfigError,
    DamagedCheckpointError,
    ReportedError,
    TransientError,
)
from t5lite.core.json_seals import sealed, unsealed
from t5lite.core.json_text import load_json
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.tensorstore_files import check_described_arrays, check_tensorstore_files
from t5lite.core.types import Tree
from t5lite.partitioning.agreed_errors import in_all_or_none

Step: TypeAlias = int | Literal["newest", "best"]
"""How a checkpoint is chosen everywhere: by its step, the newest, or the best on held-out data."""

orbax_on_s3.enable()
orbax_memory.enable()
orbax_threads.wait_for_no_folder()
tensorstore_requests.enable()
METADATA_VERSIONS = Versions({0: unchanged})
"""Of the metadata of a checkpoint."""
_CRC = "metadata_crc32"
MAX_LISTED_LEAVES = 8
_READ_BYTES_AT_A_TIME = 1 << 30
_ORBAX = str(Path(ocp.__file__).parent)
_NO_ANSWER = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED")
"""How TensorStore's messages begin where the store did not answer: nothing is known of the checkpoint."""
_NO_ACCESS = ("PERMISSION_DENIED", "UNAUTHENTICATED")


def available_steps(directory: epath.PathLike) -> list[int]:
    """Return the steps of the finished checkpoints in ``directory``, ascending; empty if there is none.

    Raises:
      ConfigError: if no checkpoint can be in a directory of that name.
    """
    directory = checkpoint_path(directory)
    return sorted(ocp.utils.checkpoint_steps(directory)) if directory.exists() else []


def resolve_step(directory: epath.PathLike, step: int | None, steps: Sequence[int] | None = None) -> int:
    """Return ``step``, or the newest step if it is None.

    Args:
      directory: holds one directory a step.
      step: one of them, or None.
      steps: those that there are, where that is known already.

    Raises:
      CheckpointError: if the directory has no checkpoint, or not that one.
    """
    steps = available_steps(directory) if steps is None else steps
    if not steps:
        raise CheckpointError(
            f"{directory} holds no finished checkpoint; give a run that has saved one, or train first"
        )
    if step is not None and step not in steps:
        raise CheckpointError(
            f"{directory} holds no checkpoint of step {step}; available: {', '.join(map(str, steps))}, "
            "newest, best"
        )
    return steps[-1] if step is None else step


def read_metadata(directory: epath.PathLike, step: int) -> dict[str, Any]:
    """Return the JSON metadata that was saved with ``step``.

    Raises:
      CheckpointError: if it is missing or damaged, or a newer version wrote it.
    """
    content = _read_json(directory, step, "metadata")
    try:
        return METADATA_VERSIONS.migrated(unsealed(content, key=_CRC), name="its metadata")
    except (ConfigError, ValueError) as error:
        raise unreadable(directory, step, error) from error


def sealed_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is saved of the JSON metadata that ``read_metadata`` is to return."""
    return sealed(METADATA_VERSIONS.stamped(metadata), key=_CRC)


def saved_shapes(directory: epath.PathLike, step: int, entry: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array under the top-level entry (``params``), by its dotted name in there.

    Raises:
      CheckpointError: if the files are damaged.
    """
    path = checkpoint_path(directory) / str(step) / "state"
    with closing(ocp.PyTreeCheckpointHandler()) as handler, _reading(directory, step):
        saved = handler.metadata(path).tree.get(entry, {})
        return {name: tuple(leaf.shape) for name, leaf in _named_leaves(saved)}


def parameters_digest(directory: epath.PathLike, step: int) -> str:
    """Return what tells the parameters of a checkpoint from all others: a digest of their fingerprints.

    Raises:
      CheckpointError: if it cannot be read.
    """
    every = _read_json(directory, step, "fingerprints")
    own = {name: value for name, value in every.items() if name.startswith("params.")}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]


def check_saved(directory: epath.PathLike, step: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a save is there to be read, by names and shapes; no array is read.

    Args:
      directory: holds one directory a step.
      step: that was saved.
      shapes: of every array of the state, by its dotted name.

    Raises:
      CheckpointError: if anything is missing or other than it was.
    """
    path = checkpoint_path(directory) / str(step) / "state"
    with closing(ocp.PyTreeCheckpointHandler()) as handler, _reading(directory, step):
        saved = handler.metadata(path).tree
        found = {name: tuple(leaf.shape) for name, leaf in _named_leaves(saved)}
    read_metadata(directory, step)
    fingerprinted = _read_json(directory, step, "fingerprints")
    lost = [name for name in shapes if found.get(name) != tuple(shapes[name]) or name not in fingerprinted]
    if lost:
        raise unreadable(
            directory, step, ValueError(f"{len(lost)} of {len(shapes)} arrays did not arrive: {listed(lost)}")
        )


def read_state(
    directory: epath.PathLike,
    step: int,
    abstract: Tree,
    *,
    partial: bool = False,
    leave: Collection[str] = (),
    max_host_bytes: int | None = None,
) -> Tree:
    """Return the saved state of ``step`` in the structure, dtypes and shardings of ``abstract``.

    Args:
      directory: holds one directory a step.
      step: a step of ``available_steps``.
      abstract: ``ShapeDtypeStruct``s with shardings; any mesh, any dtype that the saved one casts to.
      partial: leave top-level entries that ``abstract`` lacks (``opt_state``) unread. Within those it has,
        every saved array must have its place, partial or not.
      leave: dotted names of saved arrays to leave unread as well; needs ``partial``.
      max_host_bytes: of ``array_handler``; by default one array and no less than 1 GiB, which keeps any store
        busy, so that beside the arrays themselves the host has room for little more.

    Raises:
      CheckpointError: if a leaf is missing, superfluous or of another shape (all of them are listed), or if
        the files are damaged.
    """
    path = checkpoint_path(directory) / str(step) / "state"
    wanted = nested_dict(abstract)

    def read() -> tuple[Tree, dict[str, Any]]:
        saved_fingerprints = _read_json(directory, step, "fingerprints")
        with _reading(directory, step):
            with closing(ocp.PyTreeCheckpointHandler()) as handler:
                saved = handler.metadata(path).tree
            largest = largest_leaf(saved)
            check_tensorstore_files(path, array_bytes=largest)
            if partial:
                saved = _without({key: saved[key] for key in wanted if key in saved}, leave)
            _check_leaves(f"checkpoint {path.parent}", saved, wanted)
            # Read in the dtypes that were saved, so that fingerprints can be compared; cast on the devices.
            as_saved = jax.tree.map(
                lambda leaf, meta: jax.ShapeDtypeStruct(leaf.shape, meta.dtype, sharding=leaf.sharding),
                wanted,
                saved,
            )
            restore_args = ocp.checkpoint_utils.construct_restore_args(as_saved)
            arguments = ocp.args.PyTreeRestore(as_saved, restore_args=restore_args, partial_restore=partial)
            with closing(array_handler(max_host_bytes or max(largest, _READ_BYTES_AT_A_TIME))) as handler:
                return handler.restore(path, args=arguments), saved_fingerprints

    # Each process reads its own shards, and its own copy of the fingerprints.
    restored, saved_fingerprints = in_all_or_none(read)
    changed = _changed_leaves(restored, saved_fingerprints)

    def check_unchanged() -> None:
        if changed:
            error = ValueError(f"the contents changed since the save: {', '.join(changed)}")
            raise unreadable(directory, step, error)

    in_all_or_none(check_unchanged)
    return jax.tree.map(lambda x, leaf: x.astype(leaf.dtype), _unflatten_like(restored, abstract), abstract)


def array_handler(max_host_bytes: int | None = None) -> ocp.PyTreeCheckpointHandler:
    """Return what writes and reads the arrays of a checkpoint.

    Args:
      max_host_bytes: bytes of arrays that it holds on the host at a time; None for Orbax's default, which is
        everything while saving. A limit makes saving wait for the disk, and must not be below
        ``largest_leaf``: an array is copied whole.
    """
    if max_host_bytes is None:
        return ocp.PyTreeCheckpointHandler()
    # Orbax multiplies by 10**9 (a fraction is as good as an integer to it, which its types do not say) and
    # wants an array to be smaller than the limit.
    limit: Any = (max_host_bytes + 1) / 10**9
    return ocp.PyTreeCheckpointHandler(
        save_concurrent_gb=limit, restore_concurrent_gb=limit, save_device_host_concurrent_gb=limit
    )


def largest_leaf(tree: Tree) -> int:
    """Return the bytes of the largest array of ``tree`` (or of what its shapes describe)."""
    return max(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def leaf_names(tree: Tree) -> list[str]:
    """Return the dotted name of every leaf, in the order of ``jax.tree.leaves``."""
    return [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    ]


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list that may be long, and how many more there are."""
    more = len(names) - MAX_LISTED_LEAVES
    return f"{', '.join(names[:MAX_LISTED_LEAVES])}{f' and {more} more' if more > 0 else ''}"


def nested_dict(tree: Tree) -> dict[str, Any]:
    """Return ``tree`` with every container (dataclass, named tuple, list) replaced by a dict of strings."""
    result: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        node = result
        *parents, last = (jax.tree_util.keystr((key,), simple=True) for key in path)
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return result


def nested_from_names(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested dict of leaves given by dotted names."""
    result: dict[str, Any] = {}
    for name, leaf in leaves.items():
        node = result
        *parents, last = name.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return result


def named_fingerprints(tree: Tree) -> dict[str, int]:
    """Return the fingerprint of every array of ``tree`` by its dotted name; waits for the arrays."""
    values = jax.device_get(fingerprints(tree))
    return {name: int(value) for name, value in _named_leaves(values)}


def unreadable(directory: epath.PathLike, step: int, error: Exception) -> ReportedError:
    """Return the error for a checkpoint that was not read, with the remedy.

    It is a ``DamagedCheckpointError`` unless the store did not answer or refused to: that says nothing of the
    checkpoint, and to go on from an older one would throw good steps away.
    """
    cause = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0][:160]
    path = checkpoint_path(directory) / str(step)
    if isinstance(error, ConnectionError | TimeoutError) or cause.startswith(_NO_ANSWER):
        return TransientError(
            f"checkpoint {path} could not be read ({cause}); it may be whole: run the same command again"
        )
    if isinstance(error, PermissionError) or cause.startswith(_NO_ACCESS):
        return CheckpointError(f"checkpoint {path} could not be read ({cause}); get access to it")
    steps = available_steps(directory)
    if step not in steps:
        return CheckpointError(
            f"checkpoint {path} was removed while it was read; available: {', '.join(map(str, steps))}"
        )
    older = [other for other in steps if other < step] or [other for other in steps if other > step]
    remedy = f"go back to step {older[-1]} (--step, of train --from-step)" if older else "start over"
    return DamagedCheckpointError(
        f"checkpoint {path} cannot be read: incomplete or damaged ({cause}); {remedy}"
    )


def _check_leaves(what: str, saved: Tree, wanted: Tree) -> None:
    """Compare names and shapes, and list every difference in one error."""
    saved_shapes = {name: tuple(leaf.shape) for name, leaf in _named_leaves(saved)}
    wanted_shapes = {name: tuple(leaf.shape) for name, leaf in _named_leaves(wanted)}
    names = list(wanted_shapes | saved_shapes)
    different = [name for name in names if saved_shapes.get(name) != wanted_shapes.get(name)]
    if not different:
        return
    listed = [
        f"{name}: {saved_shapes.get(name, 'missing')} vs {wanted_shapes.get(name, 'missing')}"
        for name in different[:MAX_LISTED_LEAVES]
    ]
    more = len(different) - len(listed)
    remedy = "use the model and optimizer configuration it was saved with, or another directory"
    if all(name.startswith("opt_state.") for name in different):
        remedy = (
            "use the optimizer configuration it was saved with; if it is that, another version kept other "
            "state of it: go on from the parameters in another run_dir by --initialize-from.run RUN"
        )
    raise CheckpointError(
        f"{what} does not fit the model in {len(different)} of {len(names)} arrays (checkpoint vs model): "
        f"{'; '.join(listed)}{f'; and {more} more' if more else ''}; {remedy}"
    )


def _changed_leaves(restored: Tree, saved_fingerprints: dict[str, int]) -> list[str]:
    found = _named_leaves(fingerprints_once(restored))
    changed = [name for name, value in found if saved_fingerprints.get(name) != value]
    return changed[:MAX_LISTED_LEAVES]


def _read_json(directory: epath.PathLike, step: int, item: str) -> dict[str, Any]:
    path = checkpoint_path(directory) / str(step) / item / "metadata"  # the name Orbax gives to any JSON item
    try:
        content = load_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"{item} is not a JSON object")
    except (OSError, ValueError) as error:
        raise unreadable(directory, step, error) from error
    return content


@contextmanager
def _reading(directory: epath.PathLike, step: int) -> Iterator[None]:
    """Turn whatever Orbax raises for files that it cannot read into one ``ReportedError``.

    What it would not raise for is found before: see ``check_tensorstore_files``.
    """
    restore_noise = silence_orbax()
    try:
        check_tensorstore_files(checkpoint_path(directory) / str(step))
        check_described_arrays(checkpoint_path(directory) / str(step) / "state")
        yield
    except ReportedError:
        restore_noise()
        raise
    except jax.errors.JaxRuntimeError:  # of the devices, out of memory say; the files may be whole
        raise
    except Exception as error:  # Orbax raises whatever its storage layer raised
        raise unreadable(directory, step, error) from error
    else:
        restore_noise()


def silence_orbax() -> Callable[[], None]:
    """Keep Orbax from printing tracebacks of failures that it also raises; return what ends the silence.

    When a read or write fails, Orbax logs it in every thread concerned and closes its event loop under the
    operations still under way. Each of these then prints a traceback of its own, some only when they are
    garbage-collected long after the error has been raised. So after a failure the silence cannot end with
    the operation and must stay. It covers what comes out of Orbax's own code and nothing else.
    """
    previous_hook = sys.unraisablehook
    asyncio_log, absl_log = logging.getLogger("asyncio"), absl_logging.get_absl_logger()

    def hook(unraisable: Any) -> None:
        frames = traceback.extract_tb(unraisable.exc_traceback)
        closed = str(unraisable.exc_value) == "Event loop is closed"
        if not closed and not any(_ORBAX in frame.filename for frame in frames):
            previous_hook(unraisable)

    def is_not_of_orbax(record: logging.LogRecord) -> bool:
        # asyncio names the file of a task's coroutine, which for a bare read is asyncio's own; the error of
        # that read names TensorStore.
        message = record.getMessage()
        return _ORBAX not in message and "tensorstore" not in message

    def is_not_raised_too(record: logging.LogRecord) -> bool:
        return not (record.levelno == logging.ERROR and _ORBAX in record.pathname)

    def restore_noise() -> None:
        sys.unraisablehook = previous_hook
        asyncio_log.removeFilter(is_not_of_orbax)
        absl_log.removeFilter(is_not_raised_too)

    # Of a save that cannot begin, coroutines are left that nobody waits for; t5lite itself has none.
    warnings.filterwarnings("ignore", r"coroutine '.*' was never awaited", RuntimeWarning)
    sys.unraisablehook = hook
    asyncio_log.addFilter(is_not_of_orbax)
    absl_log.addFilter(is_not_raised_too)
    return restore_noise


def _without(tree: Tree, names: Collection[str]) -> dict[str, Any]:
    """Return the nested dict without the leaves of these dotted names, nor dicts that become empty."""
    if not names:
        return tree
    kept = [(name, leaf) for name, leaf in _named_leaves(tree) if name not in names]
    return nested_from_names(dict(kept))


def _unflatten_like(nested: dict[str, Any], tree: Tree) -> Tree:
    """Return the leaves of ``nested`` (the ``nested_dict`` of such a tree) in the structure of ``tree``."""
    by_name = dict(_named_leaves(nested))
    return jax.tree.unflatten(jax.tree.structure(tree), [by_name[name] for name in leaf_names(tree)])


def _named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    return list(zip(leaf_names(tree), jax.tree.leaves(tree), strict=True))
