"""A trained model: that of a run directory, its parameters restored from one of its checkpoints."""

from dataclasses import dataclass
from typing import Any

import jax

from t5lite.checkpointing.partial import RestoreReport
from t5lite.checkpointing.reading import Step, largest_leaf
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.functional import FunctionalModel, build
from t5lite.partitioning import Partitioner
from t5lite.runner.averages import Average, check_average, restore_average
from t5lite.runner.checkpoint_choice import read_chosen
from t5lite.runner.snapshot import Snapshot


@dataclass(frozen=True)
class TrainedModel:
    """A run's model with the parameters of one checkpoint on devices."""

    model: FunctionalModel
    params: Any
    vocabulary: Vocabulary
    report: RestoreReport
    origin: str
    """What the parameters are, in words that follow "weights"."""

    @property
    def step(self) -> int:
        """Of the checkpoint."""
        return self.report.step


def load_trained(
    found: Snapshot, partitioner: Partitioner, *, step: Step = "newest", average: Average | None = None
) -> TrainedModel:
    """Return the model of a run, its parameters restored onto the partitioner's mesh.

    Args:
      found: the run.
      partitioner: of the mesh.
      step: which checkpoint.
      average: what to take of it, or of those before it, in place of its parameters.

    Raises:
      UserError: if the directory, its vocabulary or its checkpoint cannot be used.
    """
    check_average(average)
    directory, vocabulary = found.directory, found.vocabulary
    model = build(found.model.config, found.model.execution)
    abstract_params = sharded_abstract_params(model, partitioner)
    largest = largest_leaf(abstract_params)

    def read(chosen: int) -> TrainedModel:
        params, report, origin = restore_average(
            directory.checkpoints, abstract_params, chosen, average, max_host_bytes=largest
        )
        return TrainedModel(model, params, vocabulary, report, origin)

    return read_chosen(directory, step, read)


def sharded_abstract_params(model: FunctionalModel, partitioner: Partitioner) -> Tree:
    """Return the parameters as ``ShapeDtypeStruct``s with their shardings: what a restore fills."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        model.abstract_params,
        partitioner.tree_shardings(model.logical_axes, model.abstract_params),
    )
