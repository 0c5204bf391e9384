"""A trained model: that of a run directory, its parameters restored from one of its checkpoints."""

from dataclasses import dataclass
from typing import Any

import jax

from t5lite.checkpointing.partial import RestoreReport, restore_params
from t5lite.checkpointing.reading import Step, largest_leaf
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.functional import FunctionalModel, build
from t5lite.partitioning import Partitioner
from t5lite.runner.checkpoint_choice import read_chosen
from t5lite.runner.snapshot import Snapshot


@dataclass(frozen=True)
class TrainedModel:
    """A run's model with the parameters of one checkpoint on devices."""

    model: FunctionalModel
    params: Any
    vocabulary: Vocabulary
    report: RestoreReport


def load_trained(found: Snapshot, partitioner: Partitioner, *, step: Step = "newest") -> TrainedModel:
    """Return the model of a run, its parameters restored onto the partitioner's mesh.

    Raises:
      UserError: if the directory, its vocabulary or its checkpoint cannot be used.
    """
    directory, vocabulary = found.directory, found.vocabulary
    model = build(found.model.config, found.model.execution)
    abstract_params = sharded_abstract_params(model, partitioner)
    largest = largest_leaf(abstract_params)

    def read(chosen: int) -> tuple[Tree, RestoreReport]:
        return restore_params(directory.checkpoints, abstract_params, chosen, max_host_bytes=largest)

    params, report = read_chosen(directory, step, read)
    return TrainedModel(model, params, vocabulary, report)


def sharded_abstract_params(model: FunctionalModel, partitioner: Partitioner) -> Tree:
    """Return the parameters as ``ShapeDtypeStruct``s with their shardings: what a restore fills."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        model.abstract_params,
        partitioner.tree_shardings(model.logical_axes, model.abstract_params),
    )
