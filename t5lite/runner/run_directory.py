"""The run directory: what lies where, and what a run needs to be used again.

Every command that takes ``--run`` takes such a directory, whether ``train`` or ``import`` wrote it.
"""

import json
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from t5lite import run_config
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.files import write_json, write_text
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.config import EncoderDecoderConfig
from t5lite.run_config import RunConfig

# How a model is computed, as opposed to what it is: free to change when a run resumes.
EXECUTION_FIELDS = ("compute_dtype", "param_dtype", "scan_unroll", "remat", "dropout_rate")

_README = """\
This directory is one t5lite run.

config.json         the resolved configuration; `t5lite train --config config.json` runs or resumes it
model.json          architecture and vocabulary: what evaluate, generate and export read
spiece.model        the SentencePiece vocabulary
checkpoints/STEP/   Orbax checkpoints: parameters, optimizer state, step
metrics.jsonl       one JSON object a logged step (losses in nats per target token)
tensorboard/        the same as TensorBoard events: `tensorboard --logdir .`
evaluation.json     what `t5lite evaluate` last measured
profile/            traces, where a profiler window was asked for

Files appear when they are first written. Start over by deleting the directory.
"""


@dataclass(frozen=True)
class RunDirectory:
    """Paths and small files of the run at ``path``."""

    path: Path

    @classmethod
    def at(cls, path: str | Path) -> "RunDirectory":
        """Return the run directory at ``path``, whether it exists yet or not."""
        return cls(Path(path).absolute())

    @property
    def config_file(self) -> Path:
        """The resolved RunConfig."""
        return self.path / "config.json"

    @property
    def model_file(self) -> Path:
        """Architecture and vocabulary."""
        return self.path / "model.json"

    @property
    def vocabulary_file(self) -> Path:
        """The SentencePiece model."""
        return self.path / "spiece.model"

    @property
    def checkpoints(self) -> Path:
        """Directory of Orbax checkpoints."""
        return self.path / "checkpoints"

    @property
    def evaluation_file(self) -> Path:
        """Result of the newest evaluation."""
        return self.path / "evaluation.json"

    def write_model(self, model: EncoderDecoderConfig, vocabulary: Vocabulary) -> None:
        """Write the files that make the directory usable, or check that they say the same.

        Raises:
          CheckpointError: if the directory belongs to another model or vocabulary.
        """
        description = {
            "architecture": "encoder_decoder",
            "config": asdict(model),
            "vocabulary": {"extra_ids": vocabulary.extra_ids, "fingerprint": vocabulary.fingerprint},
        }
        if self.model_file.is_file():
            known = json.loads(self.model_file.read_text(encoding="utf-8"))
            if changes := describe_changes(_defining(known), _defining(description)):
                raise CheckpointError(
                    f"{self.path} holds a run of another model ({'; '.join(changes)}); use another run_dir, "
                    "or delete it to start over"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.vocabulary_file.is_file():
            temporary = self.vocabulary_file.with_suffix(".tmp")
            shutil.copyfile(vocabulary.path, temporary)
            temporary.replace(self.vocabulary_file)
        write_json(self.model_file, description)
        write_text(self.path / "README.txt", _README)

    def read_model(self) -> tuple[EncoderDecoderConfig, Vocabulary]:
        """Return the model configuration and the vocabulary of the run.

        Raises:
          ConfigError: if this is not a run directory, or one that another version wrote.
        """
        if not self.model_file.is_file():
            raise ConfigError(
                f"{self.path} is not a run directory (no model.json); `t5lite train` and `t5lite import` "
                "make one"
            )
        description = json.loads(self.model_file.read_text(encoding="utf-8"))
        known = {field.name for field in fields(EncoderDecoderConfig)}
        if unknown := sorted(set(description["config"]) - known):
            raise ConfigError(f"{self.model_file}: unknown model fields {unknown}; another version wrote it")
        vocabulary = Vocabulary(self.vocabulary_file, extra_ids=description["vocabulary"]["extra_ids"])
        if vocabulary.fingerprint != description["vocabulary"]["fingerprint"]:
            raise ConfigError(f"{self.vocabulary_file} is not the vocabulary that this run was trained with")
        return EncoderDecoderConfig(**description["config"]), vocabulary

    def read_config(self) -> RunConfig:
        """Return the resolved configuration of the run.

        Raises:
          ConfigError: if there is none (an imported model has none).
        """
        if not self.config_file.is_file():
            raise ConfigError(f"{self.path} has no config.json: it was imported or is not a run directory")
        return run_config.load(self.config_file)

    def write_config(self, config: RunConfig) -> list[str]:
        """Save ``config`` and return what changed against the saved one, a phrase a field."""
        changes = []
        if self.config_file.is_file():
            saved = json.loads(self.config_file.read_text(encoding="utf-8"))
            changes = describe_changes(saved, run_config.to_json(config))
        run_config.save(config, self.config_file)
        return changes


def describe_changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Return ``field: old → new`` for every leaf in which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            phrase
            for key in sorted(before.keys() | after.keys())
            for phrase in describe_changes(
                before.get(key), after.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        before, after = list(before), list(after)
    return [] if before == after else [f"{path}: {before!r} → {after!r}"]


def _defining(description: dict[str, Any]) -> dict[str, Any]:
    config = {k: v for k, v in description["config"].items() if k not in EXECUTION_FIELDS}
    return {**description, "config": config}
