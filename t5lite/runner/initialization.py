"""The run that ``initialize_from`` names: whether it fits, and the parameters that it gives."""

import dataclasses
from collections.abc import Collection
from typing import Any

import jax

from t5lite.checkpointing.partial import RestoreReport, restore_params
from t5lite.checkpointing.reading import leaf_names
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses, listed
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.checkpoint_choice import chosen_step, read_chosen
from t5lite.runner.loading import sharded_abstract_params
from t5lite.runner.run_directory import RunDirectory

_CLASSIFIER = "classifier."
"""How the names of a classifier's own parameters begin."""
_HEAD_FIELDS = ("head", "num_labels")
"""Whose parameters a fine-tuning makes anew where they differ from those of the one it starts from."""
_FREE_FIELDS = ("dropout_rate", *_HEAD_FIELDS)
"""In which the model of a fine-tuning may differ from the one it starts from."""


def check_source(config: RunConfig, vocabulary: Vocabulary) -> None:
    """Check that the run in ``initialize_from`` has a checkpoint, and this run's vocabulary and shape.

    The head of an encoder-only model may differ.

    Raises:
      CheckpointError: if it has no such checkpoint.
      ConfigError: naming the fields that differ.
    """
    source = config.initialize_from
    if source is None:
        return
    directory = RunDirectory.at(source.run)
    model, source_vocabulary = directory.read_model()
    chosen_step(directory, source.step)
    if source_vocabulary.fingerprint != vocabulary.fingerprint:
        raise ConfigError(
            f"the training data was tokenised with another vocabulary than {source.run}; "
            f"prepare it again with --vocabulary {source_vocabulary.path} "
            f"--extra-ids {source_vocabulary.extra_ids}"
        )
    if model.architecture != config.model.architecture:
        raise ConfigError(
            f"the model of {source.run} is {model.architecture}, this one {config.model.architecture}; "
            "initialize from a run of the same architecture"
        )
    changes = [
        f"model.{field.name}={getattr(config.model, field.name)!r}, there {getattr(model, field.name)!r}"
        for field in dataclasses.fields(model)
        if field.name not in _FREE_FIELDS and getattr(model, field.name) != getattr(config.model, field.name)
    ]
    if changes:
        raise ConfigError(
            f"the model of {source.run} has another shape: {'; '.join(changes)}; take its shape by "
            f"--model {source.run}"
        )


def classes_of_source(config: RunConfig) -> LabelClasses | None:
    """Return the classes of ``initialize_from``; None if this model cannot have them all."""
    num_classes = config.model.num_classes
    if config.initialize_from is None or num_classes is None:
        return None
    directory = RunDirectory.at(config.initialize_from.run)
    model, classes = directory.read_model()[0], directory.read_classes()
    if classes is None or model.num_classes is None:
        return None
    return classes if classes.told_apart and len(classes.texts) <= num_classes else None


def restore_source(
    config: RunConfig,
    model: FunctionalModel,
    partitioner: Partitioner,
    classes: LabelClasses | None = None,
) -> tuple[Tree, RestoreReport]:
    """Return the parameters that ``initialize_from`` gives, as ``check_source`` found that it can.

    Where the head differs, those that the source lacks are initialised from ``seed``, each shard where it
    lives, as they would be in a run from scratch; those that the model lacks are left. So is a classifier
    of other classes than ``classes``, or of another number of them.

    Raises:
      CheckpointError: if the checkpoint is damaged, or a parameter that both have differs in shape.
    """
    source = config.initialize_from
    assert source is not None
    directory = RunDirectory.at(source.run)
    abstract = sharded_abstract_params(model, partitioner)
    source_model, _ = directory.read_model()
    differs = any(getattr(source_model, name, 0) != getattr(config.model, name, 0) for name in _HEAD_FIELDS)
    before = directory.read_classes()
    reason = None
    if getattr(source_model, "head", None) == getattr(config.model, "head", None):
        reason = _other_classes(before, classes) if classes is not None else None
        if reason is None and differs:
            reason = "the source has another number of outputs"
    differs = differs or reason is not None

    def initialize(names: Collection[str]) -> dict[str, jax.Array]:
        def chosen(tree: Tree) -> dict[str, Any]:
            leaves = zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
            return {name: leaf for name, leaf in leaves if name in names}

        shardings = {name: leaf.sharding for name, leaf in chosen(abstract).items()}
        make = jax.jit(lambda key: chosen(model.init(key)), out_shardings=shardings)
        return make(jax.random.key(config.seed))

    def read(chosen: int) -> tuple[Tree, RestoreReport]:
        return restore_params(
            directory.checkpoints,
            abstract,
            chosen,
            initialize=initialize if differs else None,
            anew=lambda name: reason is not None and name.startswith(_CLASSIFIER),
        )

    params, report = read_chosen(directory, source.step, read)
    return params, dataclasses.replace(report, reason=reason)


def _other_classes(before: LabelClasses | None, classes: LabelClasses) -> str | None:
    """Return how the classes of a source differ; None if they are the same in the same order."""
    if before is None:
        return "the source does not say what its classes are"
    if before.tokens == classes.tokens:
        return None
    return f"the source has the classes {listed(before.texts)}, this run {listed(classes.texts)}"
