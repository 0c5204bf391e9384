"""The run that a directory is of already, and whether another start may go on with it or replace it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t5lite import run_config
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.json_changes import json_changes
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.config import ModelConfig
from t5lite.runner.model_file import ModelFile, VocabularyFile
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class EarlierModel:
    """What a directory says of its run's model."""

    config: ModelConfig
    vocabulary: VocabularyFile | None
    """None where model.json was lost: nobody knows."""


@dataclass(frozen=True, kw_only=True)
class EarlierRun:
    """What a directory says of its run, as far as a start must fit it."""

    model: EarlierModel | None = None
    """None: it is no run yet."""
    has_checkpoints: bool = False
    lost_files: tuple[str, ...] = ()
    """Names of files that are missing or damaged, without which the run cannot be used."""
    occupied: Mapping[str, str] = field(default_factory=dict)
    """Where it is no run, what stands there under names of a run's (``RunDirectory.occupied``)."""

    def check(self, directory: RunDirectory, model: ModelConfig, vocabulary: Vocabulary) -> None:
        """Check that a run of this model may use the directory.

        Raises:
          ConfigError: if it has files that are not a run's and would be overwritten.
          CheckpointError: if it has checkpoints of another model or vocabulary.
        """
        if self.model is None:
            self._check_is_free(directory, vocabulary)
            return
        new, saved = ModelFile.of(model, vocabulary), self.model.vocabulary
        if saved is None or vocabulary.has_fingerprint(saved.fingerprint):
            saved = new.vocabulary
        description = ModelFile(
            architecture=self.model.config.architecture,
            config=self.model.config,
            vocabulary=saved,
        )
        changes = [*json_changes(description.architecture, new.architecture, ("architecture",))]
        # Fields of another architecture would only bury that one.
        changes = changes or [*json_changes(description.defining, new.defining)]
        # Without a checkpoint there is nothing to protect: the start that wrote the file came to nothing.
        if changes and self.has_checkpoints:
            raise CheckpointError(
                f"{directory.path} holds a run of another model ({'; '.join(map(str, changes))}); use "
                "another run_dir, or delete it to start over"
            )

    def _check_is_free(self, directory: RunDirectory, vocabulary: Vocabulary) -> None:
        # A directory may be there already (logs of the launcher), but not with files of our names. What a
        # start left behind that was cut off before model.json is only written again.
        begun = directory.begun(vocabulary)
        if found := [name for name, digest in self.occupied.items() if digest != begun.get(name)]:
            raise ConfigError(
                f"run_dir={directory.path} is not a run (no model.json) and has {', '.join(found)}, which "
                "would be overwritten or taken for its own; use another run_dir"
            )


def earlier_run(found: Snapshot) -> EarlierRun:
    """Return what a directory says of its run.

    Raises:
      ConfigError: if a file that says it is damaged, or a newer version wrote it.
    """
    if found.has_model:
        model = EarlierModel(config=found.model.config, vocabulary=found.model.vocabulary)
    else:
        model = _model_of_config(found)
    if model is None:
        return EarlierRun(occupied=found.directory.occupied())
    return EarlierRun(model=model, has_checkpoints=bool(found.steps), lost_files=_lost_files(found))


def _lost_files(found: Snapshot) -> tuple[str, ...]:
    directory = found.directory
    is_there = {
        directory.config_file: found.config_values is not None and _is_config(found.config_values),
        directory.classes_file: directory.classes_file.is_file(),
        directory.model_file: found.has_model,
    }
    return tuple(file.name for file, there in is_there.items() if not there)


def _is_config(values: Mapping[str, Any]) -> bool:
    try:
        run_config.from_values(values)
    except ConfigError:
        return False
    return True


def _model_of_config(found: Snapshot) -> EarlierModel | None:
    """Return the model where model.json was lost, by config.json; None if there is none of a run."""
    try:
        values = found.config_values
        if values is None:
            return None
        return EarlierModel(config=run_config.from_values(values).model, vocabulary=None)
    except ConfigError:
        return None
