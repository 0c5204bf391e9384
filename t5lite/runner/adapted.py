"""The base of a run whose checkpoints hold an adapter alone: named, compared, and read beside them."""

from collections.abc import Callable

import jax

from t5lite.adapters import Base
from t5lite.checkpointing.partial import RestoreReport, restore_params
from t5lite.checkpointing.reading import (
    available_steps,
    leaf_names,
    listed,
    nested_from_names,
    parameters_digest,
)
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.types import Tree
from t5lite.runner.run_directory import RunDirectory


def found_base(base: Base) -> Base:
    """Return the base, which is there and what it was; call it in one process.

    Raises:
      CheckpointError: if it is gone or another.
    """
    directory = RunDirectory.at(base.run)
    if base.step not in available_steps(directory.checkpoints):
        raise CheckpointError(
            f"the adapter needs its base, step {base.step} of {base.run}, which is not there; bring it back "
            "to that place, or a link to where it is now"
        )
    digest = parameters_digest(directory.checkpoints, base.step)
    if digest != base.digest:
        raise CheckpointError(
            f"the adapter was trained on step {base.step} of {base.run} as it was then: its parameters have "
            f"the digest {digest} now, and had {base.digest}; bring that checkpoint back, or train the "
            "adapter anew in another run_dir"
        )
    return base


def check_saved_or_of_base(report: RestoreReport, trained: Tree) -> None:
    """Check that what an adapter's checkpoint will not hold is in its base.

    Args:
      report: of what the base gave.
      trained: what of the parameters, or of a tree like them, the checkpoint will hold.

    Raises:
      ConfigError: naming parameters that are in neither.
    """
    held = {*leaf_names(trained)}
    lost = [leaf.name.replace(".", "/") for leaf in report.new if leaf.name not in held]
    if lost:
        groups = " ".join(dict.fromkeys(name.split("/")[0] for name in lost))
        raise ConfigError(
            f"{len(lost)} arrays are neither in the base nor trained, and would stay random: {listed(lost)}; "
            f"train them beside the adapter by --trainable {groups}"
        )


def frozen_params(base: Base, abstract_params: Tree, trained: Tree) -> Tree:
    """Return the parameters that a base gives to a run that trains others.

    Args:
      base: as it was found.
      abstract_params: of the run's model, with shardings.
      trained: what of them, or of a tree like them, is trained.

    Raises:
      CheckpointError: if it cannot be read.
    """
    own = {*leaf_names(trained)}
    wanted = chosen_leaves(abstract_params, lambda name: name not in own)
    params, _ = restore_params(
        RunDirectory.at(base.run).checkpoints, wanted, base.step, initialize=lambda names: {}
    )
    return params


def chosen_leaves(tree: Tree, chooses: Callable[[str], bool]) -> Tree:
    """Return what a tree has of the leaves whose dotted names are chosen."""
    leaves = zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
    return nested_from_names({name: leaf for name, leaf in leaves if chooses(name)})
