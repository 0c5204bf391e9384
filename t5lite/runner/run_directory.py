"""The run directory: what lies where, and what a run needs to be used again.

Every command that takes ``--run`` takes such a directory, whether ``train`` or ``import`` wrote it.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from t5lite import run_config
from t5lite.adapters import Adaptation
from t5lite.checkpointing.lease import LEASE_FOLDER, sighting
from t5lite.core.errors import ConfigError, DataError, NewerVersionError
from t5lite.core.files import check_place, make_directory, write_json, write_text
from t5lite.core.json_text import parse_json
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath, is_remote, no_bucket, place
from t5lite.core.strict_json import StrictJson, read_text, remedied
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.vocabulary import FILE_NAMES, Vocabulary, open_vocabulary
from t5lite.data.vocabulary.json_files import json_object, read_file
from t5lite.models.config import Execution, ModelConfig
from t5lite.run_config import RunConfig
from t5lite.runner.foreign_files import check_holds_no_others
from t5lite.runner.model_file import ModelFile, VocabularyFile, read_model_file
from t5lite.training.attempts import LEDGER_FOLDER, LEDGER_PATTERN
from t5lite.training.trackers.reporting import TRACKERS_FILE
from t5lite.training.watchdog import STACKS_FOLDER

MODEL_FILE = "model.json"
"""Whose presence makes a directory a run."""
IMPORTED = "imported_from"
"""In the metadata of an imported model's checkpoint, where it came from."""

FILES = (
    *("config.json", "config_history.json", "model.json", *FILE_NAMES, "classes.json", "mixture.json"),
    *("rollbacks.json", "initialized_from.txt", "metrics.jsonl", "evaluation.json", TRACKERS_FILE),
    "README.txt",
)
"""Every file that a training or an evaluation writes beside its folders."""
FOLDERS = {
    "checkpoints": r"\d+(\.(orbax-checkpoint-tmp|set-aside)[^/]*)?/.+",
    "evaluations": r"[^/]+\.jsonl?",
    LEASE_FOLDER: r"\d+\.(json|beat)",
    LEDGER_FOLDER: LEDGER_PATTERN,
    "metrics": r"\d+-\d+\.jsonl",
    "tensorboard": r"events[^/]+",
    "profile": r".+",
    STACKS_FOLDER: r"[^/]+\.txt",
}
"""Every folder that they write, with a regular expression of the names in it."""
_BEFORE_A_RUN = (LEASE_FOLDER, STACKS_FOLDER)
"""Which of them a start may leave that never came to be a run."""
_KEPT_TOKENIZER = "tokenizer"
_KEPT_GENERATION = "generation_config.json"
_WRITES_ANEW = "delete it and run `t5lite train` with the recipe of this run again, which writes it anew"

_README = """\
This directory is one t5lite run.

config.json         the resolved configuration; `t5lite train --config config.json` runs or resumes it, from
                    anywhere, for its paths are absolute (after a move, add --run-dir)
config_history.json what was changed in it when the run went on, at which step
model.json          architecture and vocabulary: what evaluate, generate and export read
spiece.model        the SentencePiece vocabulary; or bytes.json, of a vocabulary of bytes; or tokenizer.json,
                    with tokenizer_config.json, special_tokens_map.json, added_tokens.json and
                    chat_template.jinja where they say more
classes.json        of a classifier of sequences: the classes in the order of its outputs
mixture.json        of a mixture of sources: their shares, now and before they were changed
rollbacks.json      where the numbers went bad, what the run went back to, and which examples it leaves out
initialized_from.txt
                    the arrays that fine-tuning took over or made anew, and from which checkpoint
tokenizer/          of an imported model: the tokenizer files it came with, and what it says of writing, which
                    an export gives back
checkpoints/STEP/   Orbax checkpoints: parameters, optimizer state, step; STEP.set-aside is one that the run
                    does not go on from, removed when that step is saved again. Of an adapter: what it trains
                    alone; model.json says which checkpoint of which run has the rest
metrics.jsonl       one JSON object a logged step (losses in nats per target token); in a bucket, in parts
                    under metrics/
tensorboard/        the same as TensorBoard events: `tensorboard --logdir .`
trackers.json       under what Weights & Biases, MLflow or Trackio know the run, where it is shown there
evaluation.json     what `t5lite evaluate` last measured
evaluations/        all that it measured, a file for each step, store and way of measuring; of a task, all
                    predictions in a .jsonl of the same name
lease/              while a run writes here: which one
ledger/             what the run cost, a file for each start: times, steps, how it ended (`t5lite status`)
profile/            traces, where a profiler window was asked for
stacks/             what the threads of a process were doing that the watchdog ended

Files appear when they are first written. Start over by deleting the directory.
"""


MIXTURE_VERSIONS = Versions({0: unchanged})
CLASSES_VERSIONS = Versions({0: unchanged})
_JSON = StrictJson(
    versions={
        MixtureHistory: MIXTURE_VERSIONS,
        LabelClasses: CLASSES_VERSIONS,
    },
)


def history_json(history: MixtureHistory) -> dict[str, Any]:
    """Return the JSON form of the shares that a mixture has had."""
    return _JSON.unstructure(history, MixtureHistory)


def history_from_json(content: Any) -> MixtureHistory:
    """Read what ``history_json`` returned.

    Raises:
      ConfigError: if it is damaged.
    """
    return _JSON.structure(content, MixtureHistory, name="mixture")


@dataclass(frozen=True)
class RunDirectory:
    """Paths and small files of the run at ``path``."""

    path: StoragePath

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> "RunDirectory":
        """Return the run directory at a path or an address, whether it exists yet or not.

        Raises:
          ConfigError: if there can be none.
        """
        return cls(place(path).absolute())

    @property
    def config_file(self) -> StoragePath:
        """The resolved RunConfig."""
        return self.path / "config.json"

    @property
    def model_file(self) -> StoragePath:
        """Architecture and vocabulary."""
        return self.path / MODEL_FILE

    @property
    def checkpoints(self) -> StoragePath:
        """Directory of Orbax checkpoints."""
        return self.path / "checkpoints"

    @property
    def config_history_file(self) -> StoragePath:
        """Which settings were changed at which step."""
        return self.path / "config_history.json"

    @property
    def initialized_from_file(self) -> StoragePath:
        """Which parameters fine-tuning started from."""
        return self.path / "initialized_from.txt"

    @property
    def classes_file(self) -> StoragePath:
        """The classes of a classifier."""
        return self.path / "classes.json"

    @property
    def mixture_file(self) -> StoragePath:
        """The shares of the sources that a mixture has had."""
        return self.path / "mixture.json"

    @property
    def rollbacks_file(self) -> StoragePath:
        """Where the numbers went bad, and which examples are left out since."""
        return self.path / "rollbacks.json"

    @property
    def evaluation_file(self) -> StoragePath:
        """Result of the newest evaluation."""
        return self.path / "evaluation.json"

    @property
    def evaluations(self) -> StoragePath:
        """Results of all evaluations."""
        return self.path / "evaluations"

    @property
    def kept_tokenizer(self) -> StoragePath:
        """The tokenizer files that a model was imported with; of another run it is not t5lite's."""
        return self.path / _KEPT_TOKENIZER

    @property
    def _kept_generation(self) -> StoragePath:
        return self.kept_tokenizer / _KEPT_GENERATION

    def write_generation(self, settings: Mapping[str, Any]) -> None:
        """Keep what the folder of an imported model says of writing, for an export to give back."""
        if settings:
            write_json(self._kept_generation, dict(settings))

    def read_generation(self) -> dict[str, Any]:
        """Return what ``write_generation`` kept; nothing where there was nothing.

        Raises:
          DataError: if the file is damaged.
        """
        if not self._kept_generation.is_file():
            return {}
        return json_object(read_file(self._kept_generation), self._kept_generation)

    def check_is_directory(self) -> None:
        """Check that no file stands in the place.

        Raises:
          ConfigError: if one does.
        """
        if is_remote(self.path):
            check_place(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"run_dir={self.path} is a file; give a directory")

    def check_holds_no_others(self) -> None:
        """Check that it is a run already, or nobody else's.

        A start that was killed leaves its claim: it was let in, whatever it left beside it.

        Raises:
          ConfigError: if it holds what is no run's.
          UserError: if it cannot be listed.
        """
        check_holds_no_others(
            self.path,
            own={*FILES, *FOLDERS, _KEPT_TOKENIZER} - {self.config_file.name},
            marks={
                self.model_file.name: lambda: True,
                self.config_file.name: self._has_a_runs_config,
                LEASE_FOLDER: self._was_claimed,
            },
        )

    def occupied(self) -> dict[str, str]:
        """Return what stands under the names of a run's files and folders, where it may be somebody else's.

        Returns:
          By its name the digest of what a start writes before model.json; empty of anything else.
        """
        names = {*FILES, *FOLDERS, _KEPT_TOKENIZER}.difference(_BEFORE_A_RUN)
        found = {name: self.path / name for name in sorted(names) if (self.path / name).exists()}
        begun = (*FILE_NAMES, self._readme_file.name)
        return {
            name: _digest(path.read_bytes()) if name in begun and path.is_file() else ""
            for name, path in found.items()
        }

    def begun(self, vocabulary: Vocabulary) -> dict[str, str]:
        """Return what ``occupied`` finds of a start that was cut off before model.json."""
        expected = {**vocabulary.files, self._readme_file.name: _README.encode()}
        return {name: _digest(content) for name, content in expected.items()}

    def write_model(
        self,
        model: ModelConfig,
        vocabulary: Vocabulary,
        *,
        execution: Execution,
        eos_ids: Sequence[int] = (),
        is_imported: bool | None = None,
        adaptation: Adaptation | None = None,
    ) -> None:
        """Write the files that make the directory usable; ``EarlierRun.check`` before."""
        make_directory(self.path)
        for name in set(FILE_NAMES) - vocabulary.files.keys():
            (self.path / name).unlink(missing_ok=True)  # of a start with another vocabulary
        vocabulary.write(self.path)
        write_text(self._readme_file, _README)
        # Last, for it makes the directory a run.
        description = dataclasses.replace(
            ModelFile.of(model, vocabulary),
            execution=execution,
            eos_ids=tuple(eos_ids),
            is_imported=is_imported,
            adaptation=adaptation,
        )
        write_json(self.model_file, description.to_json())

    def read_model(self) -> tuple[ModelConfig, Vocabulary]:
        """Return the model configuration and the vocabulary of the run.

        Raises:
          ConfigError: if this is not a run directory, or one that another version wrote.
        """
        description = self.read_model_file()
        return description.config, self.open_vocabulary(description.vocabulary)

    def read_model_file(self) -> ModelFile:
        """Return what model.json says.

        Raises:
          ConfigError: if this is not a run directory, or one that another version wrote.
        """
        if not self.model_file.is_file():
            raise ConfigError(
                f"{self.path} is not a run directory (no model.json){no_bucket(self.path)}; `t5lite "
                "train` and `t5lite import` make one"
            )
        with remedied(self._remedy):
            return read_model_file(self.model_file)

    def open_vocabulary(self, saved: VocabularyFile) -> Vocabulary:
        """Return the vocabulary beside model.json, which says this of it.

        Raises:
          DataError: if it cannot be read.
          ConfigError: if it is another one.
        """
        try:
            vocabulary = open_vocabulary(self.path, saved.extra_ids, kind=saved.kind)
        except DataError as error:
            what = str(error).rpartition(";")[0]
            raise DataError(f"{what}; copy it from the token store again") from error
        if not vocabulary.has_fingerprint(saved.fingerprint):
            raise ConfigError(
                f"{vocabulary.path} is not the vocabulary that this run was trained with; copy it from "
                "the token store again"
            )
        return vocabulary

    def read_config(self) -> RunConfig:
        """Return the resolved configuration of the run.

        Raises:
          ConfigError: if there is none (an imported model has none).
        """
        if not self.config_file.is_file():
            raise ConfigError(
                f"{self.path} has no config.json: it was imported or is not a run directory; give one that "
                "`t5lite train` wrote"
            )
        with remedied(_WRITES_ANEW):
            return run_config.read_saved(self.config_file)

    def read_classes(self) -> LabelClasses | None:
        """Return the classes of a classifier, None for a run that has none.

        Raises:
          ConfigError: if the file is damaged.
        """
        if not self.classes_file.is_file():
            return None
        with remedied(self._remedy):
            return _JSON.read(self.classes_file, LabelClasses)

    def write_classes(self, classes: LabelClasses | None) -> None:
        """Save the classes of the run; None removes those of a start that came to nothing."""
        if classes is None:
            self.classes_file.unlink(missing_ok=True)
        else:
            write_json(self.classes_file, _JSON.unstructure(classes, LabelClasses))

    def read_mixture(self) -> MixtureHistory | None:
        """Return the shares that the sources of a mixture have had, None for a run that has none.

        Raises:
          ConfigError: if the file is damaged.
        """
        if not self.mixture_file.is_file():
            return None
        with remedied("bring it back from a copy, or start over in another run_dir"):
            return _JSON.read(self.mixture_file, MixtureHistory)

    def write_mixture(self, history: MixtureHistory | None) -> None:
        """Save the shares of a mixture; None removes those of a start that came to nothing."""
        if history is None:
            self.mixture_file.unlink(missing_ok=True)
        else:
            write_json(self.mixture_file, history_json(history))

    def read_config_values(self) -> dict[str, Any] | None:
        """Return the configuration that is there as it stands, whether it is understood or not; or None.

        Raises:
          ConfigError: if it is damaged, or a newer version wrote it.
        """
        if not self.config_file.is_file():
            return None
        with remedied("delete it, the run writes it anew"):
            try:
                saved = parse_json(read_text(self.config_file))
            except ValueError as error:
                raise ConfigError(f"{self.config_file} is damaged ({error})") from error
            if not isinstance(saved, dict):
                raise ConfigError(f"{self.config_file} is damaged (no object)")
            run_config.VERSIONS.migrated(saved, name=str(self.config_file))
            return saved

    def write_config(self, config: RunConfig) -> None:
        """Save the resolved configuration."""
        run_config.save(config, self.config_file)

    def _was_claimed(self) -> bool:
        found = sighting(self.path)
        return found is not None and found.holder is not None

    def _has_a_runs_config(self) -> bool:
        """Return whether config.json is a run's, and not that of a Hugging Face model."""
        try:
            run_config.from_values(self.read_config_values())
        except NewerVersionError:
            return True
        except ConfigError:
            return False
        return True

    @property
    def _readme_file(self) -> StoragePath:
        return self.path / "README.txt"

    @property
    def _remedy(self) -> str:
        """What to do where a file is damaged that says what the model is."""
        return _WRITES_ANEW if self.config_file.is_file() else "import the model again"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
