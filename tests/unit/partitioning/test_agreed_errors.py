"""What one process raises, all raise, and none goes on by itself."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core import machine_errors
from t5lite.core.errors import CheckpointError, DamagedCheckpointError, ReportedError, TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning import multihost
from t5lite.partitioning.agreed_errors import in_all_or_none


def of_the_disk() -> CheckpointError:
    error = CheckpointError("cannot be read")
    error.__cause__ = OSError(5, "Input/output error")
    return error


GRAVEST_LAST: dict[str, Callable[[], ReportedError]] = {
    "damage": lambda: DamagedCheckpointError("truncated"),
    "outage": lambda: TransientError("no answer"),
    "disk": of_the_disk,
    "mistake": lambda: CheckpointError("another model"),
}


def outcomes(faults: list[str | None]) -> list[int | ReportedError]:
    """What becomes of ``in_all_or_none`` in processes, threads here, that fail so or return their number."""
    told: list[object] = [None] * len(faults)
    met, here = threading.Barrier(len(faults)), threading.local()

    def every_process(value: object) -> list[object]:
        told[here.process] = value
        met.wait(60)
        return told

    def run(process: int) -> int | ReportedError:
        here.process = process

        def act() -> int:
            if fault := faults[process]:
                raise GRAVEST_LAST[fault]()
            return process

        try:
            return in_all_or_none(act)
        except ReportedError as error:
            return error

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(len(faults)) as pool:
        patch.setattr(multihost, "every_process", every_process)
        patch.setattr(jax, "process_index", lambda: here.process)
        return list(pool.map(run, range(len(faults))))


@given(st.lists(st.sampled_from([None, *GRAVEST_LAST]), min_size=1, max_size=4))
def test_all_raise_the_gravest_error_of_any_or_none_raises_one(faults):
    found = outcomes(faults)
    if not any(faults):
        assert found == list(range(len(faults)))
        return
    errors = [each for each in found if isinstance(each, ReportedError)]
    assert len(errors) == len(faults)
    gravest = max(filter(None, faults), key=list(GRAVEST_LAST).index)
    expected = GRAVEST_LAST[gravest]()
    for error in errors:
        assert isinstance(error, DamagedCheckpointError) == (gravest == "damage")
        assert machine_errors.exit_code(error) == machine_errors.exit_code(expected)
    # It is told by the process that has it, and by the others with the number of that process.
    outages = [process for process, fault in enumerate(faults) if fault in ("outage", "disk")]
    first = faults.index(gravest) if gravest in ("damage", "mistake") else outages[0]
    assert str(errors[first]) == str(GRAVEST_LAST[faults[first] or ""]())
    others = {str(error) for process, error in enumerate(errors) if process != first}
    assert others <= {f"process {first}: {errors[first]}"}


def test_an_outage_is_transient_wherever_it_is_told():
    assert {machine_errors.exit_code(each) for each in outcomes([None, "disk"])} == {ExitCode.TRANSIENT}  # pyright: ignore[reportArgumentType]
