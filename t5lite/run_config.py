"""RunConfig: one frozen value that says everything about a run.

It composes the configuration that each component owns, checks what only shows across components,
and is read from a recipe (a Python file that defines ``config() -> RunConfig``) or from the
``config.json`` that every run saves. Nothing here touches a device.
"""

import dataclasses
import math
import runpy
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from t5lite.checkpointing.lease import LeaseConfig
from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.checkpointing.reading import Step
from t5lite.core import command_line
from t5lite.core.errors import ConfigError, UserError, suggestion
from t5lite.core.files import write_json
from t5lite.core.home import expand_fields
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath, absolute_location, place
from t5lite.core.storage.local_copies import local_copy
from t5lite.core.strict_json import StrictJson, remedied
from t5lite.data.host_loader import LoaderConfig
from t5lite.data.objectives import Objective, SpanCorruption, check_architecture
from t5lite.data.pipeline import (
    DataConfig,
    MixtureDataConfig,
    PairsDataConfig,
    PretrainingDataConfig,
    SourceDataConfig,
)
from t5lite.models.config import EncoderDecoderConfig, EncoderOnlyConfig, ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.models.presets import preset_in, shape_in
from t5lite.optim import Optimizer, OptimizerConfig, Schedule
from t5lite.optim.trained import Trained, check_patterns, resolve_trained
from t5lite.partitioning.mesh import PartitioningConfig
from t5lite.partitioning.multihost import JoiningConfig
from t5lite.training.loop import TrainingConfig
from t5lite.training.step import StepConfig
from t5lite.training.trackers import TrackerConfig
from t5lite.training.watchdog import WatchdogConfig

_SEEDS = 1 << 32
"""Seeds that JAX takes without 64-bit integers."""
_PAIRS_HEAD = "sequence_classification"
"""The head of an encoder-only model that pairs train."""


@dataclass(frozen=True, kw_only=True)
class InitializeFrom:
    """Where fine-tuning takes its parameters from; the optimizer and the step count start anew."""

    run: str
    """Run directory of the earlier training, or of an import."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""

    def __post_init__(self):
        expand_fields(self, "run")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured on held-out data, during training and by ``t5lite evaluate``."""

    store: str | None = None
    """Held-out store of the same kind as ``data.store``; None evaluates nothing."""
    source: str | None = None
    """Of a mixture, the source whose objective and lengths make examples of ``store``; None for the first."""
    batch_size: int = 64
    max_examples: int | None = 1024
    """Examples of the store that are used, evenly spread over it; None takes all of them."""
    encoder_use: bool = True
    """Of an encoder-decoder, also report how much the loss rises when examples swap their inputs."""
    task: Literal["translation", "classification"] | None = None
    """How generated text is scored by ``t5lite evaluate``; None generates nothing."""

    def __post_init__(self):
        expand_fields(self, "store")
        if self.batch_size < 1:
            raise ConfigError(f"evaluation.batch_size={self.batch_size} must be positive")
        if self.max_examples is not None and self.max_examples < 1:
            raise ConfigError(f"evaluation.max_examples={self.max_examples} must be positive, or None")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything about one training run; the same value resumes it, evaluates it and exports it."""

    run_dir: str
    """Directory of checkpoints, metrics and config.json; running again resumes from it."""
    model: ModelConfig
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: Schedule
    training: TrainingConfig
    trainable: tuple[str, ...] | None = None
    """Patterns of the parameters that are trained, such as ``decoder`` or ``*/self_attention``, and of those
    that are not, after a ``!`` (``optim.trained``); None trains everything."""
    learning_rate_factors: tuple[tuple[str, float], ...] = ()
    """What multiplies the learning rate of some of them, by pattern; the first that matches counts."""
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    step: StepConfig = field(default_factory=StepConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    lease: LeaseConfig = field(default_factory=LeaseConfig)
    partitioning: PartitioningConfig = field(default_factory=PartitioningConfig)
    trackers: tuple[TrackerConfig, ...] = ()
    """Services that show the metrics, too (docs/trackers.md)."""
    joining: JoiningConfig = field(default_factory=JoiningConfig)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)
    initialize_from: InitializeFrom | None = None
    seed: int = 0
    """Seeds initialisation, data order, noise and dropout."""

    def __post_init__(self):
        expand_fields(self, "run_dir")
        _require_finite(self)
        batch_size, microbatches = self.training.batch_size, self.step.num_microbatches
        if batch_size % microbatches:
            below = batch_size // microbatches * microbatches
            raise ConfigError(
                f"training.batch_size={batch_size} is not divisible by step.num_microbatches={microbatches}; "
                f"use {f'{below} or ' if below else ''}{below + microbatches}"
            )
        self.schedule.build(self.training.total_steps)
        check_patterns(self.trainable, self.learning_rate_factors)
        evaluation = self.evaluation
        swaps = evaluation.encoder_use and self.model.cross_attends
        if evaluation.store and swaps and evaluation.batch_size < 2:
            raise ConfigError(
                f"evaluation.batch_size={evaluation.batch_size} must be at least 2: encoder use swaps rows; "
                "or set evaluation.encoder_use=False"
            )
        if self.checkpoints.keep_best and not evaluation.store:
            raise ConfigError(
                f"checkpoints.keep_best={self.checkpoints.keep_best} keeps the best on held-out data, and "
                "there is none: give evaluation.store"
            )
        if not 0 <= self.seed < _SEEDS:
            raise ConfigError(f"seed={self.seed} must be in 0..{_SEEDS - 1}")
        evaluated = self.evaluated_data
        if self.evaluation.task and not isinstance(evaluated, PairsDataConfig):
            raise ConfigError(
                f"evaluation.task={self.evaluation.task!r} scores text generated for pairs, but "
                f"{evaluated.store} is plain text; leave the task out, or fine-tune on pairs "
                "first, as configs/finetune_pairs.py does"
            )
        for data in self.data.named_sources.values():
            _check_data_and_model(data, self.model)
        self.data.lengths(self.model.architecture)
        if self.evaluation.task and not self.model.writes:
            raise ConfigError(
                f"evaluation.task={self.evaluation.task!r} scores generated text, and an encoder-only model "
                "writes none; set it to None: accuracy is measured without"
            )
        source = self.initialize_from
        if source and _absolute(source.run) == _absolute(self.run_dir):
            raise ConfigError(
                f"initialize_from.run is run_dir itself ({self.run_dir}); give the fine-tuning a directory "
                "of its own"
            )

    def trained(self, model: FunctionalModel) -> Trained:
        """Return which of the model's parameters are trained; errors as of ``resolve_trained``."""
        return resolve_trained(self.trainable, self.learning_rate_factors, model.abstract_params)

    def build_optimizer(self, model: FunctionalModel) -> Optimizer:
        """Return the optimizer of what is trained of the model; errors as of ``trained``."""
        schedule = self.schedule.build(self.training.total_steps)
        return self.trained(model).optimizer(
            lambda axes, factors: self.optimizer.build(schedule, axes, factors), model.logical_axes
        )

    @property
    def training_stores(self) -> tuple[str, ...]:
        """The stores of all sources."""
        return tuple(self.data.store_fields.values())

    @property
    def stores(self) -> dict[tuple[str, ...], str]:
        """The places of all stores, by the path of their field."""
        stores = {("evaluation", "store"): self.evaluation.store} if self.evaluation.store else {}
        return {**{("data", *path): store for path, store in self.data.store_fields.items()}, **stores}

    @property
    def evaluated_data(self) -> SourceDataConfig:
        """``data``, or the source of the mixture that says how held-out data is read.

        Raises:
          ConfigError: if ``evaluation.source`` is none of the sources.
        """
        sources, name = self.data.named_sources, self.evaluation.source
        if not isinstance(self.data, MixtureDataConfig) and name is not None:
            raise ConfigError(
                f"evaluation.source={name!r} names a source, but data is no mixture; set it to None"
            )
        if name is None:
            return next(iter(sources.values()))
        if name not in sources:
            raise ConfigError(f"evaluation.source={name!r} is no source{suggestion(name, sources)}")
        return sources[name]

    def resolved(self) -> "RunConfig":
        """Return this configuration with absolute paths: it means the same in any working directory."""
        store, source = self.evaluation.store, self.initialize_from
        return dataclasses.replace(
            self,
            run_dir=_absolute(self.run_dir),
            data=self.data.with_stores(absolute_location),
            evaluation=dataclasses.replace(self.evaluation, store=store and absolute_location(store)),
            initialize_from=source and dataclasses.replace(source, run=_absolute(source.run)),
        )


def _absolute(directory: str) -> str:
    """Return a run directory so that it means the same in any working directory; see ``place``."""
    return absolute_location(str(place(directory)))


def _check_data_and_model(data: SourceDataConfig, model: ModelConfig) -> None:
    """Check that the data is of a kind that trains this model, and of a length that it can take."""
    if isinstance(data, PretrainingDataConfig):
        check_architecture(data.objective, model.architecture)
        if isinstance(model, EncoderOnlyConfig):
            _check_labels(data.objective, model)
    elif isinstance(model, EncoderOnlyConfig) and model.num_classes is None:
        raise ConfigError(
            f"PairsDataConfig trains an encoder-only model to tell the targets apart, with head="
            f"{_PAIRS_HEAD!r}, and has no labels for model.head={model.head!r}; use that head, or "
            "PretrainingDataConfig"
        )
    for length in data.lengths(model.architecture):
        model.check_length(length)


def _check_labels(objective: Objective, model: EncoderOnlyConfig) -> None:
    """Check that the objective has labels for the model's head."""
    names_pairs = objective.pairs_sentences
    if model.head not in objective.heads:
        remedy = f", or set data.objective.next_sentence={not names_pairs}" * model.fills_masks
        heads = " or ".join(map(repr, objective.heads))
        raise ConfigError(
            f"data.objective={type(objective).__name__} has no labels for model.head={model.head!r}; use "
            f"head={heads}{remedy}"
        )
    if names_pairs and model.num_token_types == 1:
        raise ConfigError(
            "data.objective.next_sentence=True tells sentences apart by token types, but "
            "model.num_token_types=1; use 2, or 0 for none"
        )


def _require_finite(config: Any, path: str = "") -> None:
    """Refuse NaN and infinity anywhere: NaN passes comparisons that mean to refuse it."""
    for each in dataclasses.fields(config):
        name, value = path + each.name, getattr(config, each.name)
        if dataclasses.is_dataclass(value):
            _require_finite(value, f"{name}.")
        elif isinstance(value, tuple):
            for place, item in enumerate(value):
                if dataclasses.is_dataclass(item):
                    _require_finite(item, f"{name}.{place}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}={value} must be a finite number")


def load(
    path: StoragePath, overrides: Sequence[str] = (), *, model: str | ModelConfig | None = None
) -> RunConfig:
    """Read a recipe (``.py``) or a saved configuration (``.json``) and apply overrides.

    Args:
      path: the recipe. A ``.py`` file is executed and must define ``config() -> RunConfig``.
      overrides: command-line words such as ``--training.batch-size 64``.
      model: a preset, or the model of another run, whose shape replaces that of the recipe's model (see
        ``presets.preset_in``) before the overrides.

    Raises:
      ConfigError: if the file, an override or a value cannot be used.
      SystemExit: with code 0, after ``--help``.
    """
    if not path.is_file():
        problem = "is a directory" if path.is_dir() else "does not exist"
        raise ConfigError(f"recipe {path} {problem}; recipes are .py files such as those in configs/")
    if path.suffix == ".json":
        with remedied("mend it, or give the recipe"):
            config = read_saved(path)
    elif path.suffix == ".py":
        config = _run_recipe(local_copy(path))
    else:
        raise ConfigError(f"recipe {path} has the suffix {path.suffix!r}; allowed: .py, .json")
    if isinstance(model, str):
        config = dataclasses.replace(config, model=preset_in(config.model, model))
    elif model is not None:
        config = dataclasses.replace(config, model=shape_in(config.model, model))
    return _override(config, overrides) if overrides else config


def read_saved(path: StoragePath) -> RunConfig:
    """Read a configuration that ``save`` wrote.

    Raises:
      ConfigError: if it is damaged, or cannot be read.
    """
    return _JSON.read(path, RunConfig)


def save(config: RunConfig, path: StoragePath) -> None:
    """Write ``config`` as JSON; ``load`` reads it back equal."""
    write_json(path, to_json(config))


def to_json(config: RunConfig) -> dict[str, Any]:
    """Return the JSON form; a field of several possible classes carries its class as ``type``."""
    return _JSON.unstructure(config, RunConfig)


def from_json(text: str, *, name: str = "configuration") -> RunConfig:
    """Read what ``to_json`` wrote.

    Raises:
      ConfigError: for malformed JSON, an unknown field (with a suggestion), or a value of the wrong type.
    """
    return _JSON.parse(text, RunConfig, name=name)


def from_values(content: Any, *, name: str = "configuration") -> RunConfig:
    """Read what ``to_json`` returned; errors as of ``from_json``."""
    return _JSON.structure(content, RunConfig, name=name)


def _run_recipe(path: Path) -> RunConfig:
    try:
        make = runpy.run_path(str(path)).get("config")
        config = make() if callable(make) else None
    except SyntaxError as error:
        raise ConfigError(f"recipe {path} is not valid Python: {error}") from error
    except Exception as error:  # whatever the user's code raises
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        place = f"recipe {path}, line {lines[-1]}" if lines else f"recipe {path}"
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        raise ConfigError(f"{place}: {kind}{error}") from error
    if not callable(make):
        raise ConfigError(f"recipe {path} does not define config(); it must return a RunConfig")
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"recipe {path}: config() returned {type(config).__name__}; it must return a RunConfig"
        )
    return config


def _override(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    import tyro  # only commands that parse overrides pay for it

    config, overrides = _with_initialize_from(config, list(overrides))
    return command_line.parse(
        RunConfig,
        overrides,
        prog="t5lite train --config RECIPE",
        default=config,
        config=(tyro.conf.AvoidSubcommands,),
    )


def _with_initialize_from(config: RunConfig, words: list[str]) -> tuple[RunConfig, list[str]]:
    """Take ``--initialize-from None`` out of the words, and give tyro an ``InitializeFrom`` to override.

    tyro overrides the fields of a class, but does not change between a class and None. Any other field that
    may be None is a scalar, which it overrides by itself.
    """
    flag = "--initialize-from"
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    given = [name for name in names if name.startswith(f"{flag}.")]
    if flag in names:
        place = names.index(flag)
        end = place + 1 if "=" in words[place] else place + 2
        if " ".join(words[place:end]).replace("=", " ").partition(" ")[2] != "None":
            raise ConfigError(f"{flag} takes None, to start anew; say where from by {flag}.run RUN")
        if given:
            raise ConfigError(f"{flag} None and {given[0]} contradict each other; leave one of them out")
        return dataclasses.replace(config, initialize_from=None), words[:place] + words[end:]
    if config.initialize_from or not given:
        return config, words
    if f"{flag}.run" not in given:
        raise ConfigError(f"the recipe has no initialize_from; say where from by {flag}.run RUN")
    return dataclasses.replace(config, initialize_from=InitializeFrom(run="given by the override")), words


def _with_types(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 0, in which the only model and the only objective of a time had no ``type``."""

    def typed(parent: Any, field: str, kind: str) -> Any:
        value = parent.get(field) if isinstance(parent, dict) else None
        return {**parent, field: {"type": kind, **value}} if isinstance(value, dict) else parent

    data = typed(content.get("data"), "objective", SpanCorruption.__name__)
    return {**typed(content, "model", EncoderDecoderConfig.__name__), **({"data": data} if data else {})}


def _with_named_step(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 1, in which None stood for the newest checkpoint."""
    source = content.get("initialize_from")
    if not isinstance(source, dict) or source.get("step", 0) is not None:
        return content
    return {**content, "initialize_from": {**source, "step": "newest"}}


VERSIONS = Versions({0: _with_types, 1: _with_named_step, 2: unchanged})
"""Of ``config.json``."""
# Objective before DataConfig, which has it.
_JSON = StrictJson(
    unions=(
        *(Objective, SourceDataConfig, DataConfig, ModelConfig, OptimizerConfig, Schedule),
        TrackerConfig,
    ),
    versions={RunConfig: VERSIONS},
)
