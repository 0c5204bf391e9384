"""RunConfig: one frozen value that says everything about a run.

It composes the configuration that each component owns, checks what only shows across components,
and is read from a recipe (a Python file that defines ``config() -> RunConfig``, or a ``FineTuningConfig``
that inherits its model) or from the ``config.json`` that every run saves. Nothing here touches a device.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from t5lite.adapters import Adapter, NoAdapter
from t5lite.checkpointing.lease import LeaseConfig
from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.files import write_json
from t5lite.core.finite_fields import require_finite
from t5lite.core.home import expand_fields
from t5lite.core.option_paths import as_flags, check_option_paths
from t5lite.core.recipe_files import run_recipe
from t5lite.core.storage.addresses import StoragePath, absolute_location, not_a_file, place
from t5lite.core.storage.local_copies import local_copy
from t5lite.core.strict_json import StrictJson, remedied
from t5lite.data.host_loader import LoaderConfig
from t5lite.data.objectives import Objective
from t5lite.data.pipeline import (
    DataConfig,
    SourceDataConfig,
)
from t5lite.evaluation.best_metric import check_best_metric
from t5lite.evaluation.config import EvaluationConfig, check_name, known_name
from t5lite.models.config import PARTS, Execution, Inherited, ModelConfig
from t5lite.models.config.checks import LARGEST_SIZE
from t5lite.models.config.migration import RENAMED
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.inheritance import ReadSource, inherited_model
from t5lite.models.layer_distance import layers_to_output
from t5lite.models.presets import preset
from t5lite.optim import Optimizer, OptimizerConfig, Schedule, ScheduleFn
from t5lite.optim.averaging import with_average
from t5lite.optim.trained import Trained, check_layer_decay, check_patterns, resolve_trained
from t5lite.partitioning.mesh import PartitioningConfig
from t5lite.partitioning.multihost import JoiningConfig
from t5lite.run_migrations import VERSIONS
from t5lite.run_origins import ContinueFrom, InitializeFrom
from t5lite.tasks.opening import check_task, open_task, task_location
from t5lite.tasks.recipes import with_task
from t5lite.training.config import StepConfig, TrainingConfig
from t5lite.training.trackers import TrackerConfig
from t5lite.training.watchdog import WatchdogConfig

_SEEDS = 1 << 32
"""Seeds that JAX takes without 64-bit integers."""
_GIVEN = "given by the override"


@dataclass(frozen=True, kw_only=True)
class RunSettings(ABC):
    """What a recipe says of a run besides its model."""

    run_dir: str
    """Directory of checkpoints, metrics and config.json; running again resumes from it."""
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: Schedule
    training: TrainingConfig
    trainable: tuple[str, ...] | None = None
    """Patterns of the parameters that are trained, such as ``decoder`` or ``*/self_attention``, and of those
    that are not, after a ``!`` (docs/fine_tuning.md); None trains everything."""
    adapter: Adapter = field(default_factory=NoAdapter)
    """What is trained beside the model of ``initialize_from``, which stays as it is but for what
    ``trainable`` names; checkpoints hold that alone (docs/adapters.md)."""
    learning_rate_factors: tuple[tuple[str, float], ...] = ()
    """What multiplies the learning rate of some of them, by pattern; the first that matches counts."""
    layerwise_learning_rate_decay: float = 1.0
    """What multiplies it besides for each layer that is further from the output: the head has the whole rate,
    embeddings the least (docs/fine_tuning.md); 1 is one rate for all layers."""
    execution: Execution = field(default_factory=Execution)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    step: StepConfig = field(default_factory=StepConfig)
    evaluations: Mapping[str, EvaluationConfig] = field(default_factory=dict)
    """What is measured on held-out data, by name; empty measures nothing."""
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    lease: LeaseConfig = field(default_factory=LeaseConfig)
    partitioning: PartitioningConfig = field(default_factory=PartitioningConfig)
    trackers: tuple[TrackerConfig, ...] = ()
    """Services that show the metrics, too (docs/trackers.md)."""
    joining: JoiningConfig = field(default_factory=JoiningConfig)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)
    initialize_from: InitializeFrom | None = None
    continue_from: ContinueFrom | None = None
    seed: int = 0
    """Seeds initialisation, data order, noise and dropout."""

    @abstractmethod
    def chosen_model(
        self, overrides: Sequence[str], shape: ModelConfig | None, read_source: ReadSource | None
    ) -> ModelConfig:
        """Return the run's model, before the overrides of its fields.

        Raises:
          ConfigError: if none can be had.
        """


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig(RunSettings):
    """A recipe that takes its model from the run in ``initialize_from``, which it may leave to the words."""

    model: Inherited | None = None
    """What is not as there; None is nothing."""

    def chosen_model(
        self, overrides: Sequence[str], shape: ModelConfig | None, read_source: ReadSource | None
    ) -> ModelConfig:
        """Return the model that is inherited; errors as of ``inherited_model``."""
        words, emptied = command_line.without_none(overrides, _EMPTIED)
        source = command_line.value_of("--initialize-from.run", words)
        if source is None and self.initialize_from is not None:  # nothing (an unset variable) is no run
            source = self.initialize_from.run
        return inherited_model(
            self.model or Inherited(),
            source=None if "initialize_from" in emptied else source,
            run_dir=command_line.value_of("--run-dir", words) or self.run_dir,
            shape=shape,
            read=read_source,
        )


@dataclass(frozen=True, kw_only=True)
class _UncheckedConfig(RunSettings):
    """A configuration before the overrides: what only shows across its parts may yet become right."""

    model: ModelConfig

    def chosen_model(
        self, overrides: Sequence[str], shape: ModelConfig | None, read_source: ReadSource | None
    ) -> ModelConfig:
        """Return the model, or another shape in its place."""
        return self.model if shape is None else shape.in_place_of(self.model)


@dataclass(frozen=True, kw_only=True)
class RunConfig(_UncheckedConfig):
    """Everything about one training run; the same value resumes it, evaluates it and exports it."""

    def __post_init__(self):
        if self.model is None or self.model == Inherited():  # of a recipe that no type checker has read
            raise ConfigError("a RunConfig says its model; FineTuningConfig takes that of initialize_from")
        expand_fields(self, "run_dir")
        require_finite(self)
        batch_size, microbatches = self.training.batch_size, self.step.num_microbatches
        if batch_size > LARGEST_SIZE:
            raise ConfigError(f"training.batch_size={batch_size} must be at most {LARGEST_SIZE}")
        if batch_size % microbatches:
            below = batch_size // microbatches * microbatches
            raise ConfigError(
                f"training.batch_size={batch_size} is not divisible by step.num_microbatches={microbatches}; "
                f"use {f'{below} or ' if below else ''}{below + microbatches}"
            )
        if self.training.epochs is None:  # else the data has a say in the number of steps
            self.schedule.build(self.training.total_steps)
        check_patterns(self.trainable, self.learning_rate_factors)
        check_layer_decay(self.layerwise_learning_rate_decay)
        if not 0 <= self.seed < _SEEDS:
            raise ConfigError(f"seed={self.seed} must be in 0..{_SEEDS - 1}")
        for data in self.data.named_sources.values():
            _check_data_and_model(data, self.model, self.adapter)
        self.data.lengths(self.model.architecture)
        for name, evaluation in self.evaluations.items():
            check_name(name)
            check_task(evaluation.task)
            evaluation.check(f"evaluations.{name}", self.evaluated_data(name), self.model)
            if evaluation.average and self.training.ema_decay is None:
                raise ConfigError(
                    f"evaluations.{name}.average={evaluation.average!r} is kept by training.ema_decay, which "
                    "is None; give it, or leave the average out"
                )
        check_best_metric(
            self.checkpoints,
            self.training,
            self.evaluations,
            self.model,
            task_metrics=lambda task: open_task(task).metrics,
        )
        for name in _ORIGINS:
            origin = getattr(self, name)
            if origin and _absolute(origin.run) == _absolute(self.run_dir):
                raise ConfigError(
                    f"{name}.run is run_dir itself ({self.run_dir}); give this run a directory of its own"
                )
        if self.continue_from is not None:
            self.continue_from.check(None if self.training.epochs else self.training.total_steps)

    def functional_model(self) -> FunctionalModel:
        """Return the model with its adapter; errors as of ``BaseAdapter.shapes``."""
        return self.adapter.adapt(build(self.model, self.execution))

    def trained(self, model: FunctionalModel) -> Trained:
        """Return which of the model's parameters are trained; errors as of ``resolve_trained``."""
        trainable = self.adapter.trained(self.trainable)
        trained = resolve_trained(trainable, self.learning_rate_factors, model.abstract_params)
        self.adapter.check_trained(model, trained)
        if model.growths:
            trained = trained.grown(self.optimizer, model.growths, model.logical_axes)
        decay = self.layerwise_learning_rate_decay
        return trained if decay == 1 else trained.decayed(decay, layers_to_output(model))

    def build_optimizer(self, model: FunctionalModel, schedule: ScheduleFn | None = None) -> Optimizer:
        """Return the optimizer of what is trained of the model; errors as of ``trained``.

        Args:
          model: of the run.
          schedule: another than the run's own.
        """
        rate, decay = schedule or self.schedule.build(self.training.total_steps), self.training.ema_decay
        optimizer = self.trained(model).optimizer(partial(self.optimizer.build, rate), model.logical_axes)
        if decay is None:
            return optimizer
        return with_average(optimizer, decay, optimizer.trained(model.logical_axes))

    @property
    def training_stores(self) -> tuple[str, ...]:
        """The stores of all sources."""
        return tuple(self.data.store_fields.values())

    @property
    def stores(self) -> dict[tuple[str, ...], str]:
        """The places of all stores, by the path of their field."""
        return {
            **{("data", *path): store for path, store in self.data.store_fields.items()},
            **{("evaluations", name, "store"): each.store for name, each in self.evaluations.items()},
        }

    @property
    def best_evaluation(self) -> str | None:
        """The evaluation that says which checkpoint is the best: the first, or the one that is named."""
        return self.checkpoints.best_evaluation or next(iter(self.evaluations), None)

    @property
    def prompted_data(self) -> SourceDataConfig:
        """How a prompt is made an example: as of the first evaluation, or the first source."""
        first = next(iter(self.evaluations), None)
        return next(iter(self.data.named_sources.values())) if first is None else self.evaluated_data(first)

    def evaluated_data(self, name: str) -> SourceDataConfig:
        """Return ``data``, or the source of the mixture that says how an evaluation's held-out data is read.

        Raises:
          ConfigError: if the evaluation's ``source`` is none of the sources.
        """
        return self.data.source_named(self.evaluations[name].source, field=f"evaluations.{name}.source")

    def resolved(self) -> "RunConfig":
        """Return this configuration with absolute paths: it means the same in any working directory."""
        origins = {name: origin for name in _ORIGINS if (origin := getattr(self, name))}
        return dataclasses.replace(
            self,
            run_dir=_absolute(self.run_dir),
            data=self.data.with_stores(absolute_location),
            evaluations={
                name: dataclasses.replace(
                    each,
                    store=absolute_location(each.store),
                    task=each.task and task_location(each.task, absolute_location),
                )
                for name, each in self.evaluations.items()
            },
            **{name: dataclasses.replace(each, run=_absolute(each.run)) for name, each in origins.items()},
        )


def _absolute(directory: str) -> str:
    """Return a run directory so that it means the same in any working directory; see ``place``."""
    return absolute_location(str(place(directory)))


def _check_data_and_model(data: SourceDataConfig, model: ModelConfig, adapter: Adapter) -> None:
    """Check that the data is of a kind that trains this model, and of a length that it can take."""
    data.check_model(model.architecture, model.head)
    spec = data.batch_spec(model.architecture)
    model.check_fields(spec.fields)
    for side, length in spec.lengths.items():
        if length > LARGEST_SIZE:
            raise ConfigError(f"the {side} reads {length} tokens; they must be at most {LARGEST_SIZE}")
        adapter.check_length(model, length // spec.texts_apart)


def load(
    path: StoragePath,
    overrides: Sequence[str] = (),
    *,
    model: str | ModelConfig | None = None,
    task: str | None = None,
    read_source: ReadSource | None = None,
) -> RunConfig:
    """Read a recipe (``.py``) or a saved configuration (``.json``) and apply overrides.

    Args:
      path: the recipe. A ``.py`` file is executed and must define ``config() -> RunConfig``, or
        ``FineTuningConfig``.
      overrides: command-line words such as ``--training.batch-size 64``.
      model: a preset, or the model of another run, whose shape replaces that of the recipe's model (see
        ``ModelConfig.in_place_of``) before the overrides.
      task: name or file of a task, whose lengths the data gets, and by which text is scored, before the
        overrides.
      read_source: reads the model that a ``FineTuningConfig`` inherits.

    Raises:
      ConfigError: if the file, an override or a value cannot be used.
      SystemExit: with code 0, after ``--help``.
    """
    if not path.is_file():
        raise ConfigError(f"recipe {path} {not_a_file(path)}; recipes are .py files, as in configs/")
    if path.suffix == ".json":
        with remedied("mend it, or give the recipe"):
            recipe = read_saved(path)
    elif path.suffix == ".py":
        recipe = run_recipe(local_copy(path), RunSettings)
    else:
        raise ConfigError(f"recipe {path} has the suffix {path.suffix!r}; allowed: .py, .json")
    shape = preset(model) if isinstance(model, str) else model
    config = _UncheckedConfig(
        model=recipe.chosen_model(overrides, shape, read_source), **_fields(recipe, RunSettings)
    )
    overridden = _override(config, overrides, task) if overrides or task else config
    return RunConfig(**_fields(overridden, _UncheckedConfig))


def _fields(config: RunSettings, kind: type[RunSettings]) -> dict[str, Any]:
    return {each.name: getattr(config, each.name) for each in dataclasses.fields(kind)}


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


def _override(config: _UncheckedConfig, overrides: Sequence[str], task: str | None) -> _UncheckedConfig:
    import tyro  # only commands that parse overrides pay for it

    words, emptied = command_line.without_none(list(overrides), _EMPTIED)
    config = _with_evaluations(_with_origins(config, words), words)
    config = config if task is None else with_task(config, task)
    check_option_paths(config, words, renamed=_RENAMED)
    words = as_flags(config, words)
    config = command_line.parse(
        _UncheckedConfig,
        words,
        description=RunConfig.__doc__,
        prog="t5lite train --config RECIPE",
        default=config,
        config=(tyro.conf.AvoidSubcommands,),
    )
    empty: Mapping[str, Any] = {**dict.fromkeys(_ORIGINS), "evaluations": {}}
    return dataclasses.replace(config, **{name: empty[name] for name in emptied})


_ORIGINS = {
    "initialize_from": (InitializeFrom(run=_GIVEN), ("--initialize-from.run RUN",)),
    "continue_from": (
        ContinueFrom(run=_GIVEN, step=1),
        ("--continue-from.run RUN", "--continue-from.step STEP"),
    ),
}
"""Fields that name another run: what stands there until the command line says which, and how it says that."""

_EMPTIED = {
    **{name: f"to start anew; say where from by {' '.join(words)}" for name, (_, words) in _ORIGINS.items()},
    "evaluations": "to measure nothing; name one by --evaluations.NAME.store STORE",
}
"""Fields that the command line empties, and what for; others that may be None are scalars."""

_RENAMED = RENAMED | {
    f"--evaluation.{name}": (f"--evaluations.NAME.{name}",)
    for name in (field.name.replace("_", "-") for field in dataclasses.fields(EvaluationConfig))
}
"""Options that there were, and those that say the same now."""


def _with_origins(config: _UncheckedConfig, words: Sequence[str]) -> _UncheckedConfig:
    """Give tyro the origins to override that the words name, where the recipe has none."""
    for name, (origin, needed) in _ORIGINS.items():
        given = command_line.options_under(f"--{name.replace('_', '-')}", words)
        if getattr(config, name) or not given:
            continue
        if not {each.split()[0] for each in needed} <= {*given}:
            raise ConfigError(f"the recipe has no {name}; say where from by {' '.join(needed)}")
        config = dataclasses.replace(config, **{name: origin})
    return config


def _with_evaluations(config: _UncheckedConfig, words: Sequence[str]) -> _UncheckedConfig:
    """Give tyro the evaluations to override that the words name, where the recipe has none."""
    flag = "--evaluations"
    given = command_line.options_under(flag, words)
    evaluations = {name.split(".")[1]: EvaluationConfig(store=_GIVEN) for name in given}
    if config.evaluations or not given:
        for name in evaluations:
            known_name(name, config.evaluations, said_by=f"{flag}.{name}")
        return config
    for name in evaluations:
        if f"{flag}.{name}.store" not in given:
            raise ConfigError(f"the recipe has no evaluations; give one a store by {flag}.{name}.store STORE")
    return dataclasses.replace(config, evaluations=evaluations)


UNIONS = (
    *(*PARTS, Objective, SourceDataConfig, DataConfig, ModelConfig, OptimizerConfig, Schedule),
    Adapter,
    TrackerConfig,
)
"""The fields that may be one of several classes."""
_JSON = StrictJson(unions=UNIONS, versions={RunConfig: VERSIONS})
