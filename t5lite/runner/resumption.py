"""Where a run goes on: the checkpoint, what it had seen when it was saved, and of which experiment."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from t5lite import run_config
from t5lite.adapters import Base
from t5lite.checkpointing.reading import unreadable
from t5lite.core.errors import ConfigError
from t5lite.data.left_out import LeftOut
from t5lite.data.mixture import MixtureDataConfig
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.pipeline import BatchStream
from t5lite.data.position import DataPosition
from t5lite.run_config import RunConfig
from t5lite.runner.going_back import FROM_STEP, Asked
from t5lite.runner.run_directory import IMPORTED, RunDirectory, history_from_json, history_json
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.store_contents import contents_from_json, contents_json
from t5lite.training.bad_steps import StepRecord

_MIXTURE = "mixture"


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """The checkpoint that a run goes on from."""

    step: int
    position: DataPosition
    """Of the first example that is not seen yet."""
    saved_config: Mapping[str, Any] = field(default_factory=dict)
    """What it was saved with, as that version wrote it."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Digests of the stores it was trained on, by field; empty of checkpoints that did not say."""
    mixture: MixtureHistory = field(default_factory=MixtureHistory.elsewhere)
    """Of the shares of the sources."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """Places in the data that no position stands for."""
    step_record: StepRecord = field(default_factory=StepRecord)
    went_back: Asked | None = None
    """What its run had been told to go back to before it saved this."""
    base: Base | None = None
    """What the checkpoint is read beside; None of one that is whole."""
    notes: tuple[str, ...] = ()
    """What to say of how all this was found."""

    @cached_property
    def config(self) -> RunConfig | None:
        """What it was saved with; None where an older version saved what is no longer understood."""
        try:
            return run_config.from_values(self.saved_config)
        except ConfigError:
            return None

    @property
    def config_json(self) -> Mapping[str, Any]:
        """The same, in this version's form where it is understood."""
        return self.saved_config if self.config is None else run_config.to_json(self.config)


def resumption(found: Snapshot, step: int) -> Resumption:
    """Return how the run of a directory goes on from the checkpoint of ``step``.

    A checkpoint that does not say how many examples it has seen was saved when every run counted them as
    steps times the batch size it had then.

    Raises:
      CheckpointError: if what the checkpoint says of itself is damaged.
      ConfigError: if it is an imported model's, or a mixture's whose history is lost.
    """
    checkpoints, metadata, notes = found.directory.checkpoints, found.metadata(step), []
    if IMPORTED in metadata and not found.has_config:
        raise _no_run_to_go_on_with(found.directory)
    try:
        position = DataPosition.from_json(metadata)
        if position is None:
            batch_size = int(metadata["config"]["training"]["batch_size"])
            position = DataPosition().after(step, batch_size=batch_size)
            notes.append(
                f"the checkpoint of step {step} does not say how many examples it has seen: {step} steps of "
                f"{batch_size}, its batch size, are {position.examples_seen:,}; nor what its stores held, so "
                "that this is not compared"
            )
        resumed = Resumption(
            step=step,
            position=position,
            saved_config=_saved_config(metadata),
            contents=contents_from_json(metadata),
            left_out=LeftOut.from_json(metadata),
            step_record=StepRecord.from_json(metadata),
            went_back=metadata.get(FROM_STEP),
            base=Base.from_json(metadata),
            notes=tuple(notes),
        )
        mixture = history_from_json(metadata[_MIXTURE]) if _MIXTURE in metadata else found.mixture
        return dataclasses.replace(resumed, mixture=mixture or _of_no_mixture(resumed, found.directory))
    except ValueError as error:
        raise unreadable(checkpoints, step, error) from error
    except (KeyError, TypeError):
        lost = ValueError("its metadata says neither how many examples it has seen nor its batch size")
        raise unreadable(checkpoints, step, lost) from None


def _saved_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    saved = metadata.get("config", {})
    if not isinstance(saved, dict):
        raise ValueError("its configuration is no object")
    return saved


def _no_run_to_go_on_with(directory: RunDirectory) -> ConfigError:
    """Return the refusal of an imported model, which says how to fine-tune it."""
    return ConfigError(
        f"{directory.path} is an imported model, not a training to go on with; fine-tune it by "
        f"--initialize-from.run {directory.path} --model {directory.path} and a --run-dir of its own"
    )


def _of_no_mixture(resumed: Resumption, directory: RunDirectory) -> MixtureHistory:
    """Return the history of shares where nothing says one.

    Raises:
      ConfigError: if the checkpoint is a mixture's.
    """
    if resumed.config_json.get("data", {}).get("type") == MixtureDataConfig.__name__:
        raise ConfigError(
            f"{directory.mixture_file} is missing, which says where each source of the mixture stands at "
            f"step {resumed.step}; bring it back from a copy, or start over in another run_dir"
        )
    return MixtureHistory.elsewhere()


def metadata_of(
    config: RunConfig, pipeline: BatchStream, contents: Mapping[str, str], resumed: Resumption | None
) -> dict[str, Any]:
    """Return what the checkpoints of a run say of it, besides their step and position.

    Args:
      config: of the run.
      pipeline: its training data.
      contents: digests of its stores, by field.
      resumed: where it goes on; None if it begins.
    """
    # Also of sources that are no longer there: they may come back.
    known = {**(resumed.contents if resumed else {}), **contents}
    history = current_history(pipeline, resumed)
    mixture = {} if history is None else {_MIXTURE: history_json(history)}
    return {
        "config": run_config.to_json(config),
        **contents_json(known),
        **mixture,
        **pipeline.left_out.to_json(),
    }


def current_history(pipeline: BatchStream, resumed: Resumption | None) -> MixtureHistory | None:
    """Return the history of shares, which a run keeps also while it trains on something else."""
    if pipeline.history is not None:
        return pipeline.history
    if resumed is None or resumed.mixture.is_of_no_mixture:
        return None
    return resumed.mixture.left(position=pipeline.left_out.place(resumed.position.examples_seen))
