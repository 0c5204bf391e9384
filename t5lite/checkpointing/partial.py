"""Take the parameters alone from a full training checkpoint: the start of fine-tuning, evaluation, export."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import jax
from etils import epath

from t5lite.checkpointing import reading
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.types import Tree
from t5lite.partitioning.agreed_errors import in_all_or_none, leaders_result


@dataclass(frozen=True, kw_only=True)
class RestoredLeaf:
    """One array that was taken, or that was not."""

    name: str
    """Dotted path in the parameter tree."""
    shape: tuple[int, ...]
    dtype: str
    """The dtype it has now; it may differ from the one saved, and is empty for an array that was left."""

    def __str__(self) -> str:
        return f"{self.name} {self.shape} {self.dtype}".rstrip()


@dataclass(frozen=True, kw_only=True)
class RestoreReport:
    """What ``restore_params`` took, and from where."""

    directory: str
    step: int
    leaves: tuple[RestoredLeaf, ...]
    """In tree order; every parameter of the model but ``new``: there is no silent partial restore."""
    new: tuple[RestoredLeaf, ...] = ()
    """Parameters that the checkpoint lacks, or that mean something else there, and that were initialised."""
    left: tuple[RestoredLeaf, ...] = ()
    """Parameters of the checkpoint that the model lacks, where that was allowed."""
    reason: str | None = None
    """Why parameters that both have were not taken."""

    def __str__(self) -> str:
        sections = {
            f"parameters of step {self.step} from {self.directory} ({len(self.leaves)} arrays):": self.leaves,
            f"new, not taken from that checkpoint ({len(self.new)} arrays):": self.new,
            f"left there, not in this model ({len(self.left)} arrays):": self.left,
        }
        lines = [[title, *(f"  {leaf}" for leaf in leaves)] for title, leaves in sections.items() if leaves]
        return "\n".join(line for section in lines for line in section)


def restore_params(
    directory: epath.PathLike,
    abstract_params: Tree,
    step: int | None = None,
    *,
    initialize: Callable[[Collection[str]], Mapping[str, jax.Array]] | None = None,
    anew: Callable[[str], bool] = lambda _: False,
    leave: Collection[str] = (),
    max_host_bytes: int | None = None,
) -> tuple[Tree, RestoreReport]:
    """Return the parameters of a training checkpoint, without reading its optimizer state.

    All processes must call it, and get the same step; what one raises, all raise.

    Args:
      directory: the checkpoint directory of a run; nothing in it is changed.
      abstract_params: ``ShapeDtypeStruct``s with shardings; the mesh and the dtypes may differ from those of
        the run that saved.
      step: which checkpoint, one that is known to be there; the newest by default.
      initialize: makes the parameters of given dotted names. With it, those that the checkpoint lacks are
        made by it and those that the model lacks are left; without it, either is refused.
      anew: with ``initialize``, whether a parameter of that dotted name is made by it although the checkpoint
        has one.
      leave: without ``initialize``, dotted names of parameters of the checkpoint that are not wanted.
      max_host_bytes: of ``reading.array_handler``.

    Raises:
      CheckpointError: if there is no checkpoint, if it is damaged or gone, or if any parameter of the model
        is missing (unless ``initialize`` is given) or has another shape.
    """
    directory = checkpoint_path(directory)
    chosen: int = leaders_result(lambda: reading.resolve_step(directory, None)) if step is None else step
    if initialize is None:
        wanted_state = {"params": abstract_params}
        params = reading.read_state(
            directory,
            chosen,
            wanted_state,
            partial=True,
            leave={f"params.{name}" for name in leave},
            max_host_bytes=max_host_bytes,
        )["params"]
        return params, report_of(directory, chosen, params)
    names = reading.leaf_names(abstract_params)
    wanted = dict(zip(names, jax.tree.leaves(abstract_params), strict=True))
    there = in_all_or_none(lambda: reading.saved_shapes(directory, chosen, "params"))
    saved = {name: shape for name, shape in there.items() if not (name in wanted and anew(name))}
    shared = reading.nested_from_names({name: leaf for name, leaf in wanted.items() if name in saved})
    left = [name for name in saved if name not in wanted]
    shared_names = wanted.keys() & saved.keys()
    taken = reading.read_state(
        directory,
        chosen,
        {"params": shared},
        partial=True,
        leave={f"params.{name}" for name in there if name not in shared_names},
        max_host_bytes=max_host_bytes,
    )["params"]
    new = initialize([name for name in names if name not in saved])
    by_name = {**dict(zip(reading.leaf_names(taken), jax.tree.leaves(taken), strict=True)), **new}
    params = jax.tree.unflatten(jax.tree.structure(abstract_params), [by_name[name] for name in names])
    described = _described(params)
    return params, RestoreReport(
        directory=str(directory),
        step=chosen,
        leaves=tuple(leaf for leaf in described if leaf.name in saved),
        new=tuple(leaf for leaf in described if leaf.name not in saved),
        left=tuple(RestoredLeaf(name=name, shape=saved[name], dtype="") for name in left),
    )


def report_of(directory: epath.PathLike, step: int, params: Tree) -> RestoreReport:
    """Return the report of parameters that were all taken from one checkpoint."""
    return RestoreReport(directory=str(directory), step=step, leaves=_described(params))


def _described(params: Tree) -> tuple[RestoredLeaf, ...]:
    return tuple(
        RestoredLeaf(name=name, shape=tuple(leaf.shape), dtype=str(leaf.dtype))
        for name, leaf in zip(reading.leaf_names(params), jax.tree.leaves(params), strict=True)
    )
