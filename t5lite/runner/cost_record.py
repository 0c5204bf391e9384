"""What a training run has its ledger say."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

from t5lite.checkpointing.lease import Lease
from t5lite.core.errors import DataError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.storage.addresses import StoragePath
from t5lite.training.attempts import read_attempts
from t5lite.training.ledger import Ledger
from t5lite.training.metrics_log import METRICS_FILE, read_metrics
from t5lite.training.phase_clock import PhaseClock


@contextmanager
def cost_recorded(
    directory: StoragePath,
    lease: Lease | None,
    clock: PhaseClock,
    *,
    program: str,
    start_step: int,
    say: Callable[[str], None],
) -> Iterator[Ledger | None]:
    """Record this attempt of a ``program`` during the block, in the process that holds the lease, alone.

    Enter it before the metrics of steps after ``start_step`` are dropped: they tell what is lost.
    """
    if lease is None:
        yield None
        return
    with Ledger(
        directory,
        clock,
        first_step=start_step,
        found_step=newest_step(directory),
        num_processes=jax.process_count(),
        num_devices=jax.device_count(),
        waited_seconds=lease.waited_seconds,
        job=lease.holder.job,
        program=program,
        say=say,
        before_write=lease.check,
    ) as ledger:
        yield ledger


def record_finish(
    directory: StoragePath,
    lease: Lease | None,
    clock: PhaseClock,
    *,
    program: str,
    step: int,
    say: Callable[[str], None],
) -> None:
    """Record that a run was found finished at ``step``, unless its ledger says so.

    An attempt that is killed after its last save and evaluation leaves nothing to do but this.
    """
    if lease is None:
        return
    attempts, _ = read_attempts(directory)
    if attempts and (attempts[-1].end is None or attempts[-1].end.reason != "finished"):
        with cost_recorded(directory, lease, clock, program=program, start_step=step, say=say) as ledger:
            assert ledger is not None  # as the lease
            ledger.finish("finished", ExitCode.DONE)


def newest_step(directory: StoragePath) -> int:
    """Return the newest step that the metrics of a run tell of; 0 where they cannot be read."""
    with contextlib.suppress(DataError):  # that is told elsewhere
        return max((entry["step"] for entry in read_metrics(directory / METRICS_FILE)), default=0)
    return 0
