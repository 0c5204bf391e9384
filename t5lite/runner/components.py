"""Build a run's components from its configuration, each from its own part, and check that they fit.

Everything that can be refused is refused here, before parameters are made or anything is compiled.
"""

import dataclasses
import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.checkpointing.partial import RestoreReport, restore_params
from t5lite.checkpointing.reading import Step, available_steps, largest_leaf, leaf_names
from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID, Tree
from t5lite.data.examples.label_classes import LabelClasses, check_num_labels, listed
from t5lite.data.left_out import LeftOut
from t5lite.data.pipeline import BatchStream, open_pipeline
from t5lite.data.position import DataPosition
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.partitioning import Partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.checkpoint_choice import chosen_step, read_chosen
from t5lite.runner.resumption import Resumption
from t5lite.runner.run_directory import RunDirectory

_VOCABULARY_MULTIPLE = 128
_NAMED_TOKENS = 3
_CLASSIFIER = "classifier."
"""How the names of a classifier's own parameters begin."""
_HEAD_FIELDS = ("head", "num_labels")
"""Whose parameters a fine-tuning makes anew where they differ from those of the one it starts from."""
_FREE_FIELDS = ("dropout_rate", *_HEAD_FIELDS)
"""In which the model of a fine-tuning may differ from the one it starts from."""


def check_vocabulary(vocabulary: Vocabulary, model: ModelConfig, *, imported: bool = False) -> None:
    """Check that the model's table has a row for every id, and the vocabulary the tokens the model lives by.

    Whether it has what an objective needs besides (sentinels, CLS, SEP) is the objective's to check.

    Args:
      vocabulary: of the data, or of the weights.
      model: its table is asked.
      imported: whether the weights are there, so that no other size can be set.

    Raises:
      ConfigError: naming the size to set, or what is missing.
    """
    if vocabulary.size > model.vocab_size:
        rounded = -(-vocabulary.size // _VOCABULARY_MULTIPLE) * _VOCABULARY_MULTIPLE
        remedy = (
            _remedy_for_rows(vocabulary, model.vocab_size) if imported else f"set model.vocab_size={rounded}"
        )
        raise ConfigError(
            f"{'' if imported else 'model.'}vocab_size={model.vocab_size} has no row for some of the "
            f"{vocabulary.size} ids of {vocabulary.path}; {remedy}"
        )
    has_mask = vocabulary.mask_id is not None or vocabulary.extra_ids > 0
    if model.fills_masks and not has_mask:
        raise ConfigError(
            f"{vocabulary.path} has neither a mask token nor a sentinel to stand for it, and a masked "
            "language model needs one; use a vocabulary that has one"
        )
    if model.cross_attends:
        vocabulary.special_id("eos", needed_for="an encoder-decoder model, to end its inputs and targets,")
        _check_start(vocabulary, model.decoder_start_id, imported=imported)


def _check_start(vocabulary: Vocabulary, start_id: int, *, imported: bool) -> None:
    ids = {"pad_id": vocabulary.pad_id}
    if start_id != PAD_ID:  # else it is what fills the rows as well
        ids["bos_id"] = vocabulary.bos_id
    if start_id in ids.values():
        return
    own = {name: value for name, value in ids.items() if value is not None}
    if start_id == PAD_ID:
        remedy = "use a vocabulary whose pad token has that id, such as SentencePiece or bytes"
    elif imported:
        remedy = "give the vocabulary that the weights were trained with by --vocabulary"
    elif own:
        remedy = f"set model.start_id={[*own.values()][-1]}"
    else:
        remedy = "use a vocabulary with a pad or BOS token of that id"
    raise ConfigError(
        f"{vocabulary.path} has {' and '.join(f'{name}={value}' for name, value in ids.items())}, but an "
        f"encoder-decoder model starts its targets with id {start_id}, which must stand for nothing else; "
        f"{remedy}"
    )


def _remedy_for_rows(vocabulary: Vocabulary, rows: int) -> str:
    """Return what to do about a tokenizer that has more ids than the table of the weights has rows."""
    num_sentinels = vocabulary.extra_ids - (vocabulary.size - rows)
    if vocabulary.takes_extra_ids and num_sentinels >= 0:
        return f"the weights have {num_sentinels} sentinels at most: give --extra-ids {num_sentinels}"
    beyond = [text for text in map(vocabulary.token_text, range(rows, vocabulary.size)) if text]
    named = (
        f" for {', '.join(map(repr, beyond[:_NAMED_TOKENS]))}{', …' if len(beyond) > _NAMED_TOKENS else ''}"
    )
    return (
        f"give it rows{named if beyond else ''} by model.resize_token_embeddings({vocabulary.size}) and "
        "save_pretrained of transformers, or give the vocabulary that the weights were trained with by "
        "--vocabulary"
    )


def check_epochs(pipeline: BatchStream, config: RunConfig, resumed: Resumption | None = None) -> None:
    """Check that the data lasts for the whole run: the schedule counts on every step.

    Args:
      pipeline: of the training data.
      config: of the run.
      resumed: where the run goes on; None if it begins.

    Raises:
      ConfigError: naming how many steps there are.
    """
    batch_size, total_steps = config.training.batch_size, config.training.total_steps
    step, position = (resumed.step, resumed.position) if resumed else (0, DataPosition())
    available = pipeline.num_steps(batch_size, start=position.examples_seen)
    if available is None or step + available >= total_steps:
        return
    enough = "raise max_epochs"
    if pipeline.history is None:
        seen = position.after(total_steps - step, batch_size=batch_size).examples_seen
        needed = pipeline.left_out.place(seen - 1) + 1
        enough = f"set max_epochs to {-(-needed // pipeline.num_examples)}, or None"
    if not available and not step:
        raise ConfigError(
            f"data: {pipeline.end} is less than one batch of {batch_size}; {enough}, or lower "
            f"training.batch_size to at most {pipeline.num_positions}"
        )
    seen = f"{step} steps have seen {position.examples_seen:,} examples, and " if step else ""
    raise ConfigError(
        f"data: {seen}{pipeline.end} is {available} {'more ' if step else ''}batches of {batch_size}, fewer "
        f"than training.total_steps={total_steps}; use at most {step + available} steps, or {enough}"
    )


def check_steps(directory: RunDirectory, config: RunConfig, latest: int | None) -> None:
    """Check that a run that resumes from the step ``latest`` is not beyond its end.

    Raises:
      ConfigError: naming the step that it has reached.
    """
    total_steps = config.training.total_steps
    if latest is not None and latest > total_steps:
        raise ConfigError(
            f"run_dir={directory.path} is at step {latest}, beyond training.total_steps={total_steps}; use "
            f"more than {latest} steps to train on, or another run_dir to start anew"
        )


def open_training_pipeline(
    config: RunConfig, directory: RunDirectory, resumed: Resumption | None, left_out: LeftOut
) -> BatchStream:
    """Return the training data; its classes, if any, are those the run was started with.

    The sources of a mixture go on where they were, whatever their shares are now.

    Args:
      config: of the run.
      directory: of the run.
      resumed: where it goes on; None if it begins.
      left_out: places that are not trained on.

    Raises:
      DataError: if the store cannot be used, or has classes that the run or its model has not.
      ConfigError: if the settings contradict the store.
    """
    open_with = functools.partial(
        open_pipeline,
        config.data,
        architecture=config.model.architecture,
        start_id=config.model.decoder_start_id,
        seed=config.seed,
        on_damage=config.loader.on_damage,
        history=resumed.mixture if resumed else None,
        position=left_out.place(resumed.position.examples_seen) if resumed else 0,
    )
    classes = directory.read_classes() if resumed else None
    pipeline = open_with(classes=classes)
    if classes is None and pipeline.classes is not None:  # the run begins, or has lost the file
        known = _classes_of_source(config)
        # Outputs keep their numbers, and classes their names, where the source has them all.
        if known is not None and {*pipeline.classes.tokens} <= {*known.tokens}:
            pipeline = open_with(classes=known)
    if pipeline.classes is not None and config.model.num_classes is not None:
        check_num_labels(pipeline.classes, config.model.num_classes, store=config.training_stores[0])
    pipeline.leave_out(left_out)
    return pipeline


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


def _classes_of_source(config: RunConfig) -> LabelClasses | None:
    """Return the classes of ``initialize_from``; None if this model cannot have them all."""
    num_classes = config.model.num_classes
    if config.initialize_from is None or num_classes is None:
        return None
    directory = RunDirectory.at(config.initialize_from.run)
    model, classes = directory.read_model()[0], directory.read_classes()
    if classes is None or model.num_classes is None:
        return None
    return classes if classes.told_apart and len(classes.texts) <= num_classes else None


def inherited_eos_ids(config: RunConfig, directory: RunDirectory) -> tuple[int, ...]:
    """Return what ends a generated text besides the vocabulary's EOS: what the run, or its source, says."""
    if available_steps(directory.checkpoints) and directory.model_file.is_file():
        return directory.read_eos_ids()
    source = config.initialize_from
    return () if source is None else RunDirectory.at(source.run).read_eos_ids()


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


def sharded_abstract_params(model: FunctionalModel, partitioner: Partitioner) -> Tree:
    """Return the parameters as ``ShapeDtypeStruct``s with their shardings: what a restore fills."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        model.abstract_params,
        partitioner.tree_shardings(model.logical_axes, model.abstract_params),
    )


@dataclass(frozen=True)
class TrainedModel:
    """A run's model with the parameters of one checkpoint on devices."""

    model: FunctionalModel
    params: Any
    vocabulary: Vocabulary
    report: RestoreReport


def load_trained(directory: RunDirectory, partitioner: Partitioner, *, step: Step = "newest") -> TrainedModel:
    """Return the model of a run directory, its parameters restored onto the partitioner's mesh.

    Raises:
      UserError: if the directory, its vocabulary or its checkpoint cannot be used.
    """
    config, vocabulary = directory.read_model()
    model = build(config, directory.read_execution())
    abstract_params = sharded_abstract_params(model, partitioner)
    largest = largest_leaf(abstract_params)

    def read(chosen: int) -> tuple[Tree, RestoreReport]:
        return restore_params(directory.checkpoints, abstract_params, chosen, max_host_bytes=largest)

    params, report = read_chosen(directory, step, read)
    return TrainedModel(model, params, vocabulary, report)
