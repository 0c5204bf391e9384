"""A run that another one has replaced leaves its metrics as they stand, on a disk and in a bucket."""

import io
import os
from pathlib import Path

import pytest

from t5lite.core.errors import UserError
from t5lite.core.metrics import WeightedSum
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases
from t5lite.training.telemetry import Telemetry


def _open_files(folder: Path) -> list[str]:
    open_files = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            open_files.append(os.readlink(descriptor))
        except FileNotFoundError:  # the one of this list
            continue
    return [name for name in open_files if Path(name).is_relative_to(folder)]


def _contents(folder: StoragePath) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("under_way", [False, True], ids=["entries written", "an entry under way"])
@pytest.mark.parametrize("where", ["disk", "gcs"])
def test_what_was_not_written_when_the_lease_was_lost_never_is_and_nothing_stays_open(
    where: str, under_way: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = tmp_path if where == "disk" else place(request.getfixturevalue("gcs")) / f"abandoned-{under_way}"
    lost: list[UserError] = []

    def check() -> None:
        if lost:
            raise lost[0]

    metrics = {"loss": WeightedSum(1.0, 1.0), "tokens": 1}
    telemetry = Telemetry(
        run, PhaseClock(Phases()), start_step=0, total_steps=9, stream=io.StringIO(), before_write=check
    )
    telemetry.record(1, metrics)
    telemetry.write_entry()
    telemetry.flush()
    telemetry.record(2, metrics)
    if not under_way:
        telemetry.write_entry()  # in a bucket it waits to be put
    before = _contents(run)
    assert before
    lost.append(UserError("another run has taken it over"))
    for end in (telemetry.flush, telemetry.close):
        with pytest.raises(UserError, match="taken it over"):
            end()
    assert _contents(run) == before
    assert not _open_files(tmp_path)
