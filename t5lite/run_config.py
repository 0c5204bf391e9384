"""RunConfig: one frozen value that says everything about a run.

It composes the configuration that each component owns, checks what only shows across components,
and is read from a recipe (a Python file that defines ``config() -> RunConfig``) or from the
``config.json`` that every run saves. Nothing here touches a device.
"""

import dataclasses
import json
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cattrs
import cattrs.strategies

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.files import write_json
from t5lite.data.host_loader import LoaderConfig
from t5lite.data.pipeline import DataConfig
from t5lite.models.config import EncoderDecoderConfig
from t5lite.optim import OptimizerConfig, Schedule
from t5lite.partitioning.mesh import PartitioningConfig
from t5lite.training.loop import TrainingConfig
from t5lite.training.step import StepConfig


@dataclass(frozen=True, kw_only=True)
class InitializeFrom:
    """Where fine-tuning takes its parameters from; the optimizer and the step count start anew."""

    run: str
    """Run directory of the earlier training, or of an import."""
    step: int | None = None
    """Checkpoint step; None takes the newest."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured on held-out data, during training and by ``t5lite evaluate``."""

    store: str | None = None
    """Held-out store of the same kind as ``data.store``; None evaluates nothing."""
    batch_size: int = 64
    max_examples: int | None = 1024
    """Examples of the store that are used, from the first; None takes all of them."""
    encoder_use: bool = True
    """Also report the loss when encoder inputs are swapped between examples, minus the loss."""
    task: Literal["translation", "classification"] | None = None
    """How generated text is scored by ``t5lite evaluate``; None generates nothing."""

    def __post_init__(self):
        if self.batch_size < 2:
            raise ConfigError(
                f"evaluation.batch_size={self.batch_size} must be at least 2: encoder use swaps rows"
            )
        if self.max_examples is not None and self.max_examples < 1:
            raise ConfigError(f"evaluation.max_examples={self.max_examples} must be positive, or None")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything about one training run; the same value resumes it, evaluates it and exports it."""

    run_dir: str
    """Directory of checkpoints, metrics and config.json; running again resumes from it."""
    model: EncoderDecoderConfig
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: Schedule
    training: TrainingConfig
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    step: StepConfig = field(default_factory=StepConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    partitioning: PartitioningConfig = field(default_factory=PartitioningConfig)
    initialize_from: InitializeFrom | None = None
    seed: int = 0
    """Seeds initialisation, data order, noise and dropout."""

    def __post_init__(self):
        batch_size, microbatches = self.training.batch_size, self.step.num_microbatches
        if batch_size % microbatches:
            raise ConfigError(
                f"training.batch_size={batch_size} is not divisible by "
                f"step.num_microbatches={microbatches}; use {batch_size // microbatches * microbatches} "
                f"or {-(-batch_size // microbatches) * microbatches}"
            )
        self.schedule.build(self.training.total_steps)
        if self.initialize_from and Path(self.initialize_from.run) == Path(self.run_dir):
            raise ConfigError(
                f"initialize_from.run is run_dir itself ({self.run_dir}); give the fine-tuning a directory "
                "of its own"
            )


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe (``.py``) or a saved configuration (``.json``) and apply overrides.

    Args:
      path: the recipe. A ``.py`` file is executed and must define ``config() -> RunConfig``.
      overrides: command-line words such as ``--training.batch-size 64``.

    Raises:
      ConfigError: if the file or a value cannot be used. A wrong override ends the process with
        exit code 2 and a suggestion, as every command line here does.
    """
    if not path.is_file():
        raise ConfigError(f"recipe {path} does not exist; recipes are .py files such as those in configs/")
    if path.suffix == ".json":
        config = from_json(path.read_text(encoding="utf-8"), name=str(path))
    elif path.suffix == ".py":
        config = _run_recipe(path)
    else:
        raise ConfigError(f"recipe {path} has the suffix {path.suffix!r}; allowed: .py, .json")
    return _override(config, overrides) if overrides else config


def save(config: RunConfig, path: Path) -> None:
    """Write ``config`` as JSON; ``load`` reads it back equal."""
    write_json(path, to_json(config))


def to_json(config: RunConfig) -> dict[str, Any]:
    """Return the JSON form; a field of several possible classes carries its class as ``type``."""
    return _CONVERTER.unstructure(config, RunConfig)


def from_json(text: str, *, name: str = "configuration") -> RunConfig:
    """Read what ``to_json`` wrote.

    Raises:
      ConfigError: for malformed JSON, an unknown field (with a suggestion), or a value of the wrong type.
    """
    try:
        return _CONVERTER.structure(json.loads(text), RunConfig)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}: not JSON: {error}") from None
    except cattrs.BaseValidationError as error:
        raise ConfigError(f"{name}: {'; '.join(_explain(error))}") from None


def _run_recipe(path: Path) -> RunConfig:
    try:
        names = runpy.run_path(str(path))
    except SyntaxError as error:
        raise ConfigError(f"recipe {path} is not valid Python: {error}") from None
    if not callable(names.get("config")):
        raise ConfigError(f"recipe {path} does not define config(); it must return a RunConfig")
    config = names["config"]()
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"recipe {path}: config() returned {type(config).__name__}; it must return a RunConfig"
        )
    return config


def _override(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    import tyro  # only commands that parse overrides pay for it

    try:
        return tyro.cli(
            RunConfig,
            prog="t5lite train --config RECIPE",
            args=list(overrides),
            default=config,
            config=(tyro.conf.AvoidSubcommands,),
        )
    except SystemExit:
        sys.stderr.flush()
        raise


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for scalar in (int, str, bool):
        converter.register_structure_hook(scalar, _strict(scalar))
    converter.register_structure_hook(float, _strict(float))
    for union in (DataConfig, OptimizerConfig, Schedule):
        cattrs.strategies.configure_tagged_union(union, converter, tag_name="type")
    return converter


def _strict(scalar: type):
    """Refuse what Python would convert silently: ``int(2.7)``, ``bool("false")``."""
    allowed = (int, float) if scalar is float else (scalar,)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, allowed) or (isinstance(value, bool) and scalar is not bool):
            raise ValueError(f"{value!r} is not of type {scalar.__name__}")
        return scalar(value)

    return structure


def _explain(error: BaseException, path: str = "") -> list[str]:
    """Flatten a cattrs error into one phrase a field."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        names = {f.name for f in dataclasses.fields(error.cl)}
        return [f"unknown field {path + key!r}{suggestion(key, names)}" for key in sorted(error.extra_fields)]
    if isinstance(error, cattrs.BaseValidationError):
        phrases = []
        for inner in error.exceptions:
            note = next((n for n in getattr(inner, "__notes__", []) if hasattr(n, "name")), None)
            missing = isinstance(inner, KeyError)  # names its field itself
            phrases += _explain(inner, f"{path}{note.name}." if note and not missing else path)
        return phrases
    if isinstance(error, KeyError):
        return [f"field {path + str(error.args[0])!r} is missing"]
    return [f"{path.rstrip('.')}: {error}" if path else str(error)]


_CONVERTER = _converter()
