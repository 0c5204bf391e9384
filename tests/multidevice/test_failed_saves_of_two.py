"""A save that fails in one of two processes fails in both, at once, and both go on saving."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.checkpointing.reading import available_steps

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""Far less than the ten and twenty minutes for which Orbax waits where a process does not come."""


@pytest.mark.fault(
    "a save fails in one of several processes (disk full, read-only)",
    "fails in all of them at once, said with the process; tried again by all, earlier checkpoints stay; "
    '`checkpoints.on_save_failure="stop"` ends the run',
    "0; 75",
)
@pytest.mark.fault(
    "a checkpoint is damaged in what one of several processes wrote or reads",
    "all go on from the newest that is whole for all of them",
    0,
)
@pytest.mark.slow
def test_a_save_that_fails_in_one_process_fails_in_both_and_what_one_cannot_read_neither_does(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.multidevice.saving_worker"]
    processes = [
        subprocess.Popen(
            [*command, str(number), port, str(tmp_path / "checkpoints")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        ended = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], ended
    (leader, found), (other, found_by_other) = (json.loads(output.splitlines()[-1]) for output, _ in ended)
    for step in range(1, 10):
        (told, seconds), (told_other, _) = leader[str(step)], other[str(step)]
        assert (told is None, told_other is None) == (step % 2 == 1,) * 2, (step, told, told_other)
        assert seconds < SECONDS
    assert "No space left on device" in leader["2"][0]
    assert other["2"][0] == f"process 0: {leader['2'][0]}"
    assert leader["4"][0] == f"process 1: {other['4'][0]}"
    for step in ("6", "8"):
        assert other[step][0] == f"process 0: {leader[step][0]}"
    assert available_steps(tmp_path / "checkpoints") == [1, 3, 5, 7, 9]
    for step, damaged, (reason,) in (found, found_by_other):
        assert (step, damaged) == (7, [9])
        assert f"{tmp_path / 'checkpoints' / '9'} cannot be read: incomplete or damaged" in reason
    assert not list((tmp_path / "checkpoints").glob("*tmp*"))
