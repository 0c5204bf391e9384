"""What a run may go on from, where it was told to go back."""

import pytest

from t5lite.runner.going_back import Return, still_there
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot


@pytest.mark.parametrize(("step", "is_there"), [(20, True), (30, False)])
def test_what_a_rollback_took_back_is_gone(step, is_there, tmp_path):
    directory = RunDirectory.at(tmp_path)
    for each in (10, 20):
        (directory.checkpoints / str(each)).mkdir(parents=True)
    back = Return(asked="best", step=step)
    assert still_there(Snapshot(directory), back) == (back if is_there else None)
    assert still_there(Snapshot(directory), None) is None
