"""What one process raises, all raise, and none goes on by itself."""

import errno
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from t5lite.core import machine_errors
from t5lite.core.errors import (
    CheckpointError,
    ConfigError,
    DamagedCheckpointError,
    ReportedError,
    TransientError,
)
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning.agreed_errors import in_all_or_none
from tests.process_threads import in_processes


def of_the_disk() -> CheckpointError:
    error = CheckpointError("cannot be read")
    error.__cause__ = OSError(5, "Input/output error")
    return error


GRAVEST_LAST: dict[str, Callable[[], ReportedError | OSError]] = {
    "damage": lambda: DamagedCheckpointError("truncated"),
    "outage": lambda: TransientError("no answer"),
    "disk": of_the_disk,
    "raw": lambda: OSError(errno.EIO, "Input/output error", "/run/lease"),
    "another checkpoint": lambda: CheckpointError("was removed while it was read"),
    "mistake": lambda: ConfigError("unknown"),
    "permission": lambda: PermissionError(errno.EACCES, "Permission denied", "/run/lease"),
}


RANKS = {"raw": "outage", "disk": "outage", "permission": "mistake"}
"""What is as grave as another fault."""


def outcomes(faults: list[str | None]) -> list[int | ReportedError | OSError]:
    """What becomes of ``in_all_or_none`` in processes that fail so or return their number."""

    def run(process: int) -> int | OSError:
        def act() -> int:
            if fault := faults[process]:
                raise GRAVEST_LAST[fault]()
            return process

        try:
            return in_all_or_none(act)
        except OSError as error:
            return error

    return in_processes(len(faults), run)


@given(st.lists(st.sampled_from([None, *GRAVEST_LAST]), min_size=1, max_size=4))
def test_all_raise_the_gravest_error_of_any_or_none_raises_one(faults):
    found = outcomes(faults)
    if not any(faults):
        assert found == list(range(len(faults)))
        return
    errors = [each for each in found if isinstance(each, ReportedError | OSError)]
    assert len(errors) == len(faults)
    ranks = [fault and RANKS.get(fault, fault) for fault in faults]
    gravest = max(filter(None, ranks), key=list(GRAVEST_LAST).index)
    expected = GRAVEST_LAST[gravest]()
    for error in errors:
        assert isinstance(error, DamagedCheckpointError) == (gravest == "damage")
        if gravest in ("damage", "another checkpoint"):
            assert isinstance(error, CheckpointError)
        assert machine_errors.exit_code(error) == machine_errors.exit_code(expected)
    # It is told by the process that has it, and by the others with the number of that process.
    first = ranks.index(gravest)
    assert str(errors[first]) == str(GRAVEST_LAST[faults[first] or ""]())
    others = {str(error) for process, error in enumerate(errors) if process != first}
    assert others <= {f"process {first}: {machine_errors.description(errors[first])}"}


def test_an_outage_is_transient_wherever_it_is_told():
    assert {machine_errors.exit_code(each) for each in outcomes([None, "disk"])} == {ExitCode.TRANSIENT}  # pyright: ignore[reportArgumentType]
