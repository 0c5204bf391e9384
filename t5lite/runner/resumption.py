"""Where a run goes on: the checkpoint, and the examples that were seen when it was saved."""

from dataclasses import dataclass

from t5lite.checkpointing.reading import read_metadata, unreadable
from t5lite.data.position import DataPosition
from t5lite.runner.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """The checkpoint that a run goes on from."""

    step: int
    position: DataPosition
    """Of the first example that is not seen yet."""
    note: str | None = None
    """What to say of how the position was found."""


def resumption(directory: RunDirectory, step: int) -> Resumption:
    """Return how the run in ``directory`` goes on from the checkpoint of ``step``.

    A checkpoint that does not say how many examples it has seen was saved when every run counted them as
    steps times the batch size it had then.

    Raises:
      CheckpointError: if what the checkpoint says of itself is damaged.
      ConfigError: if it is an imported model's.
    """
    directory.check_not_imported()
    metadata = read_metadata(directory.checkpoints, step)
    try:
        position = DataPosition.from_json(metadata)
        if position is not None:
            return Resumption(step=step, position=position)
        batch_size = metadata["config"]["training"]["batch_size"]
        position = DataPosition().after(step, batch_size=int(batch_size))
    except ValueError as error:
        raise unreadable(directory.checkpoints, step, error) from error
    except (KeyError, TypeError):
        lost = ValueError("its metadata says neither how many examples it has seen nor its batch size")
        raise unreadable(directory.checkpoints, step, lost) from None
    return Resumption(
        step=step,
        position=position,
        note=f"the checkpoint of step {step} does not say how many examples it has seen: {step} steps of "
        f"{batch_size}, its batch size, are {position.examples_seen:,}",
    )
