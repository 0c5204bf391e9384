"""A run directory as it is found at one time: each of its files is read once, whoever asks for it.

A shared disk or a bucket shows a process some time later what another one wrote, so that two readings may
differ. What must fit together is taken from one snapshot, in one process.
"""

from functools import cache, cached_property
from typing import Any

from t5lite.checkpointing.reading import available_steps, read_metadata
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.vocabulary import Vocabulary
from t5lite.run_config import RunConfig
from t5lite.runner.model_file import ModelFile
from t5lite.runner.run_directory import IMPORTED, RunDirectory
from t5lite.training.metrics_log import METRICS_FILE, read_metrics


class Snapshot:
    """What stands in a run directory, each file read when it is first asked for; errors as of the readers.

    Args:
      directory: of the run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.metadata = cache(lambda step: read_metadata(directory.checkpoints, step))
        """What the checkpoint of a step says of itself."""

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Of the checkpoints that are finished, ascending."""
        return tuple(available_steps(self.directory.checkpoints))

    @cached_property
    def has_model(self) -> bool:
        """Whether there is a model.json."""
        return self.directory.model_file.is_file()

    @cached_property
    def model(self) -> ModelFile:
        """What model.json says."""
        return self.directory.read_model_file()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary beside it, which it describes."""
        return self.directory.open_vocabulary(self.model.vocabulary)

    @cached_property
    def classes(self) -> LabelClasses | None:
        """Of a classifier."""
        return self.directory.read_classes()

    @cached_property
    def mixture(self) -> MixtureHistory | None:
        """The shares that the sources of a mixture have had."""
        return self.directory.read_mixture()

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The entries of the metrics file."""
        return read_metrics(self.directory.path / METRICS_FILE)

    @cached_property
    def is_imported(self) -> bool:
        """Whether the model was imported; a training, whose checkpoints come and go, has a config.json."""
        return not self.has_config and bool(self.steps) and IMPORTED in self.metadata(self.steps[-1])

    @cached_property
    def has_config(self) -> bool:
        """Whether there is a config.json; an imported model has none."""
        return self.directory.config_file.is_file()

    @cached_property
    def config_values(self) -> dict[str, Any] | None:
        """What config.json says, be it understood or not; None if there is none."""
        return self.directory.read_config_values()

    @cached_property
    def config(self) -> RunConfig:
        """What config.json says."""
        return self.directory.read_config()
