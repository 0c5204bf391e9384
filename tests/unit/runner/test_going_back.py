"""What a run may go on from is the same in all processes, whatever each of them sees of a shared disk."""

import pytest

from t5lite.runner.going_back import Return, still_there
from t5lite.runner.run_directory import RunDirectory
from tests.process_threads import in_processes


@pytest.mark.parametrize("leader_has_it", [True, False])
def test_what_a_rollback_took_back_is_gone_for_all_processes_or_for_none(tmp_path, leader_has_it):
    """A disk shows one process earlier than the other what the leader has set aside."""
    with_it, without = (RunDirectory.at(tmp_path / name) for name in ("with", "without"))
    (with_it.checkpoints / "20").mkdir(parents=True)
    (without.checkpoints / "10").mkdir(parents=True)
    back = Return(asked="best", step=20)
    seen = [with_it, without] if leader_has_it else [without, with_it]
    found = in_processes(2, lambda process: still_there(seen[process], back))
    assert found == [back if leader_has_it else None] * 2
    assert still_there(without, None) is None
