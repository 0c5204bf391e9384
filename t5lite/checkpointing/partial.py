"""Take the parameters alone from a full training checkpoint: the start of fine-tuning, evaluation, export."""

from dataclasses import dataclass

import jax
from etils import epath

from t5lite.checkpointing import reading
from t5lite.core.types import Tree


@dataclass(frozen=True, kw_only=True)
class RestoredLeaf:
    """One array that was taken."""

    name: str
    """Dotted path in the parameter tree."""
    shape: tuple[int, ...]
    dtype: str
    """The dtype it has now; it may differ from the one saved."""


@dataclass(frozen=True, kw_only=True)
class RestoreReport:
    """What ``restore_params`` took, and from where."""

    directory: str
    step: int
    leaves: tuple[RestoredLeaf, ...]
    """Every parameter of the model, in tree order: there is no silent partial restore."""

    def __str__(self) -> str:
        return "\n".join(
            [
                f"parameters of step {self.step} from {self.directory} ({len(self.leaves)} arrays):",
                *(f"  {leaf.name} {leaf.shape} {leaf.dtype}" for leaf in self.leaves),
            ]
        )


def restore_params(
    directory: epath.PathLike, abstract_params: Tree, step: int | None = None
) -> tuple[Tree, RestoreReport]:
    """Return the parameters of a training checkpoint, without reading its optimizer state.

    Args:
      directory: the checkpoint directory of a run; nothing in it is changed.
      abstract_params: ``ShapeDtypeStruct``s with shardings; the mesh and the dtypes may differ from those of
        the run that saved.
      step: which checkpoint; the newest by default.

    Raises:
      CheckpointError: if there is no such checkpoint, if it is damaged, or if any parameter of the model is
        missing or has another shape.
    """
    directory = epath.Path(directory).absolute()
    step = reading.resolve_step(directory, step)
    params = reading.read_state(directory, step, {"params": abstract_params}, partial=True)["params"]
    leaves = tuple(
        RestoredLeaf(name=name, shape=tuple(leaf.shape), dtype=str(leaf.dtype))
        for name, leaf in zip(reading.leaf_names(params), jax.tree.leaves(params), strict=True)
    )
    return params, RestoreReport(directory=str(directory), step=step, leaves=leaves)
