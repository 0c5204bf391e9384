"""The run that ``initialize_from`` names: whether it fits, and the parameters that it gives."""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

import jax

from t5lite.adapters.base import united
from t5lite.checkpointing.partial import RestoredLeaf, RestoreReport, restore_params
from t5lite.checkpointing.reading import Step, largest_leaf, leaf_names, saved_shapes
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses, listed
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.optim.trained import merged as with_leaves
from t5lite.partitioning import Partitioner
from t5lite.partitioning.agreed_errors import in_all_or_none
from t5lite.run_origins import InitializeFrom
from t5lite.runner.adapted import chosen_leaves
from t5lite.runner.averages import restore_average
from t5lite.runner.checkpoint_choice import chosen_step, evaluations, measured_average, read_chosen
from t5lite.runner.loading import sharded_abstract_params
from t5lite.runner.model_file import ModelFile
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

_CLASSIFIER = "classifier."
"""How the names of a classifier's own parameters begin."""
_HEAD_FIELDS = ("head", "num_labels", "label_transform")
"""Whose parameters a fine-tuning makes anew where they differ from those of the one it starts from."""
_FREE_FIELDS = ("dropout_rate", "embedding", *_HEAD_FIELDS)
"""In which the model of a fine-tuning may differ from the one it starts from."""

_LEAST_ENCODER_USE = 0.3
"""Nats; below it fine-tuning gained nothing from pretraining, or lost (docs/fine_tuning.md)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The run that another one is initialized from, as it was found."""

    run: str
    asked: Step
    """Which checkpoint the configuration names."""
    step: int | None
    """Of that checkpoint; None where its parameters are needed no more."""
    model: ModelFile
    vocabulary_path: str
    classes: LabelClasses | None = None
    encoder_use: float | None = None
    """Of that checkpoint, or the newest measured before it; None where nothing says."""

    average: Literal["ema"] | None = None
    """What made that checkpoint the best, where the best is asked for, and is taken of it."""

    @property
    def notes(self) -> list[str]:
        """What to say of parameters that will hardly help, or are not those that were measured."""
        notes = []
        if self.encoder_use is not None and self.encoder_use < _LEAST_ENCODER_USE:
            notes.append(
                f"warning: {self.run} hardly uses its encoder (encoder_use {self.encoder_use:.2f} nats): "
                "what is fine-tuned from there may be worse than from scratch (docs/fine_tuning.md); "
                f"pretrain it for longer, until that is above {_LEAST_ENCODER_USE}"
            )
        if self.average is not None:
            notes.append(
                f"note: step {self.step} is the best of {self.run} by its moving average, which is taken; "
                f"--initialize-from.step {self.step} takes its own parameters"
            )
        if (held := self.model.adaptation) is not None:
            notes.append(f"note: {self.run} holds {held.adapter}, which is trained on")
        return notes

    def classes_for(self, model: ModelConfig, found: LabelClasses) -> LabelClasses | None:
        """Return its classes; None if ``model`` cannot have them all, or they lack some of ``found``."""
        num_labels, classes = model.num_named_labels, self.classes
        if num_labels is None or classes is None or self.model.config.head != model.head:
            return None
        known, wanted = _told_apart_by(classes, model), _told_apart_by(found, model)
        has_all = len({*known}) == len(known) and {*wanted} <= {*known}
        return classes if has_all and len(known) <= num_labels else None


def find_source(initialize_from: InitializeFrom, *, gives_parameters: bool = True) -> Source:
    """Return what the run in ``initialize_from`` is, which is read once; call it in one process.

    Raises:
      CheckpointError: if it has no such checkpoint.
      UserError: if it is no run, or its vocabulary cannot be used.
    """
    run, asked = initialize_from.run, initialize_from.step
    return source_of(run, Snapshot(RunDirectory.at(run)), asked, gives_parameters=gives_parameters)


def source_of(run: str, found: Snapshot, asked: Step, *, gives_parameters: bool = True) -> Source:
    """Return what a run is whose files were ``found``; errors as of ``find_source``."""
    model, vocabulary = found.model, found.vocabulary  # a directory that is no run is told as such
    step = chosen_step(found, asked) if gives_parameters else None
    return Source(
        run=run,
        asked=asked,
        model=model,
        vocabulary_path=str(vocabulary.path),
        step=step,
        classes=found.classes,
        average=None if step is None else measured_average(found, asked),
        encoder_use=None if step is None else _encoder_use(found, step),
    )


def _encoder_use(found: Snapshot, step: int) -> float | None:
    """Return the newest encoder use that a run has measured up to a step; None where no file tells."""
    try:
        name = found.config.best_evaluation if found.has_config else None
        measured = {} if name is None else evaluations(found, name, "encoder_use")
    except UserError:  # it is damaged, and needed for nothing else
        return None
    return next((measured[each] for each in sorted(measured, reverse=True) if each <= step), None)


def check_source(source: Source, model: ModelConfig, vocabulary: Vocabulary) -> None:
    """Check that the source has this run's vocabulary, and the shape of its model.

    The head of an encoder-only model may differ.

    Raises:
      ConfigError: naming the fields that differ.
    """
    run, saved, theirs = source.run, source.model.vocabulary, source.model.config
    if not vocabulary.has_fingerprint(saved.fingerprint):
        raise ConfigError(
            f"the training data was tokenised with another vocabulary than {run}; "
            f"prepare it again with --vocabulary {source.vocabulary_path} --extra-ids {saved.extra_ids}"
        )
    if theirs.architecture != model.architecture:
        raise ConfigError(
            f"the model of {run} is {theirs.architecture}, this one {model.architecture}; "
            "initialize from a run of the same architecture"
        )
    changes = [
        f"model.{field.name}={getattr(model, field.name)!r}, there {getattr(theirs, field.name)!r}"
        for field in dataclasses.fields(theirs)
        if field.name not in _FREE_FIELDS and getattr(theirs, field.name) != getattr(model, field.name)
    ]
    if changes:
        raise ConfigError(
            f"the model of {run} has another shape: {'; '.join(changes)}; take its shape by --model {run}"
        )


def restore_source(
    source: Source,
    model: FunctionalModel,
    partitioner: Partitioner,
    classes: LabelClasses | None = None,
    *,
    seed: int,
    is_adapted: bool = False,
) -> tuple[Tree, RestoreReport]:
    """Return the parameters that a source gives, as ``check_source`` found that it can.

    Where the head differs, those that the source lacks are initialised from ``seed``, each shard where it
    lives, as they would be in a run from scratch; those that the model lacks are left. So is a classifier
    of another head, of other classes than ``classes``, or of another number of them. With an adapter the
    source is taken as it was planned: no newer checkpoint stands in for it.

    Raises:
      CheckpointError: if the checkpoint is damaged, or a parameter that both have differs in shape.
    """
    assert source.step is not None
    abstract = sharded_abstract_params(model, partitioner)
    theirs, reason = source.model.config, why_anew(source, model.config, classes)
    differs = reason is not None or any(
        getattr(theirs, name, 0) != getattr(model.config, name, 0) for name in _HEAD_FIELDS
    )

    directory = RunDirectory.at(source.run)

    def read(chosen: int) -> tuple[Tree, RestoreReport]:
        return restore_params(
            directory.checkpoints,
            abstract,
            chosen,
            initialize=_initializer(model, abstract, seed) if differs or is_adapted else None,
            anew=lambda name: reason is not None and name.startswith(_CLASSIFIER),
        )

    asked = source.step if is_adapted else source.asked
    params, report = read_chosen(directory, asked, read, first=source.step)
    if source.average is not None:
        taken = [leaf.name for leaf in report.leaves]
        params = with_leaves(params, _restored(source, report.step, abstract, taken)[0])
    return params, dataclasses.replace(report, reason=reason)


def restore_adapter(
    source: Source,
    model: FunctionalModel,
    partitioner: Partitioner,
    classes: LabelClasses | None = None,
    *,
    trained: Tree,
    seed: int,
) -> tuple[Tree, RestoreReport]:
    """Return the parameters that an adapter's run gives, and its base; the report is of its own.

    What is in neither, and what is not taken of them, is as of ``restore_source``.

    Args:
      source: holds an adapter, whose base was found.
      model: of the run.
      partitioner: of the mesh.
      classes: of the run.
      trained: what of the model's parameters, or of a tree like them, is trained.
      seed: for what is initialised.

    Raises:
      ConfigError: if it has trained what would not be saved any more.
      CheckpointError: if a checkpoint is damaged or does not fit.
    """
    step, adaptation = source.step, source.model.adaptation
    assert step is not None
    assert adaptation is not None
    directory, base = RunDirectory.at(source.run).checkpoints, adaptation.base
    saved = in_all_or_none(lambda: saved_shapes(directory, step, "params"))
    abstract, reason = sharded_abstract_params(model, partitioner), why_anew(source, model.config, classes)

    def is_anew(name: str) -> bool:
        return reason is not None and name.startswith(_CLASSIFIER)

    names, held = {*leaf_names(abstract)}, {*leaf_names(trained)}
    taken = [name for name in saved if name in names and not is_anew(name)]
    if not taken:
        raise ConfigError(
            f"nothing of the adapter of {source.run} fits this model"
            f"{f', for {reason}' if reason else ''}; begin from its base by --initialize-from.run {base.run}"
        )
    if lost := [name.replace(".", "/") for name in taken if name not in held]:
        groups = " ".join(dict.fromkeys(name.split("/")[0] for name in lost))
        raise ConfigError(
            f"{source.run} has trained {len(lost)} arrays that this run does not, so that its checkpoints "
            f"would lack them: {listed(lost)}; train them on by --trainable {groups}"
        )
    own, report = _restored(source, step, abstract, taken)
    beside, of_base = restore_params(
        RunDirectory.at(base.run).checkpoints,
        chosen_leaves(abstract, lambda name: name not in taken),
        base.step,
        initialize=_initializer(model, abstract, seed),
        anew=is_anew,
    )
    left = (RestoredLeaf(name=name, shape=saved[name], dtype="") for name in saved if name not in names)
    report = dataclasses.replace(report, new=of_base.new, left=tuple(left), reason=reason)
    return united(beside, own), report


def _initializer(
    model: FunctionalModel, abstract_params: Tree, seed: int
) -> Callable[[Collection[str]], dict[str, jax.Array]]:
    """Return what makes parameters by name, each shard where it lives, as in a run from scratch."""

    def initialize(names: Collection[str]) -> dict[str, jax.Array]:
        def chosen(tree: Tree) -> dict[str, Any]:
            leaves = zip(leaf_names(tree), jax.tree.leaves(tree), strict=True)
            return {name: leaf for name, leaf in leaves if name in names}

        if not names:
            return {}
        shardings = {name: leaf.sharding for name, leaf in chosen(abstract_params).items()}
        make = jax.jit(lambda key: chosen(model.init(key)), out_shardings=shardings)
        return make(jax.random.key(seed))

    return initialize


def _restored(
    source: Source, step: int, abstract_params: Tree, names: Collection[str]
) -> tuple[Tree, RestoreReport]:
    """Return parameters of a source's checkpoint by name, or their average; others are left."""
    directory = RunDirectory.at(source.run).checkpoints
    saved = in_all_or_none(lambda: saved_shapes(directory, step, "params"))
    wanted = chosen_leaves(abstract_params, {*names}.__contains__)
    params, report, _ = restore_average(
        directory,
        wanted,
        step,
        source.average,
        max_host_bytes=largest_leaf(wanted),
        leave=saved.keys() - {*names},
    )
    return params, report


def why_anew(source: Source, model: ModelConfig, classes: LabelClasses | None) -> str | None:
    """Return why a classifier that both have is made anew; None if there is none, or it is the same."""
    theirs = source.model.config
    if theirs.labels_group is None or theirs.labels_group != model.labels_group:
        return None
    if theirs.head != model.head:
        return "the source has another head"
    reason = None if classes is None else _other_classes(source.classes, classes, model)
    if reason is None and theirs.num_named_labels != model.num_named_labels:
        return "the source has another number of outputs"
    return reason


def _other_classes(before: LabelClasses | None, classes: LabelClasses, model: ModelConfig) -> str | None:
    """Return how the classes of a source differ; None if they are the same in the same order."""
    if before is None:
        return "the source does not say what its classes are"
    if _told_apart_by(before, model) == _told_apart_by(classes, model):
        return None
    return f"the source has the classes {listed(before.texts)}, this run {listed(classes.texts)}"


def _told_apart_by(classes: LabelClasses, model: ModelConfig) -> tuple[Any, ...]:
    """Return what says which class is meant: of rows the targets' tokens, of words the tags' texts."""
    return classes.texts if model.num_classes is None else classes.tokens
