"""What each start of a run cost is on disk, however it ended."""

import dataclasses
import errno
import json
import signal
import subprocess
import sys
import time

import jax
import pytest

from t5lite.core.errors import TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.storage.retries import RETRIES
from t5lite.training.attempts import LEDGER_FOLDER, End, read_attempts
from t5lite.training.goodput import goodput
from t5lite.training.incidents import Incidents, described
from t5lite.training.ledger import Ledger
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases


def ledger(directory, phases=None, *, first_step=0, found_step=0, say=print) -> Ledger:
    return Ledger(
        directory,
        PhaseClock(phases or Phases()),
        first_step=first_step,
        found_step=found_step,
        num_processes=1,
        num_devices=8,
        waited_seconds=0.0,
        job="SLURM_JOB_ID=7",
        say=say,
    )


def test_two_attempts_of_a_run(tmp_path):
    phases = Phases()
    with ledger(tmp_path, phases) as first:
        for step in (1, 2, 3):
            with phases.enter("input"), phases.enter("step"):
                time.sleep(0.01)
            first.reached(step)
        first.finish("preempted", 143)
    with ledger(tmp_path, first_step=2, found_step=3) as second:
        second.reached(3)
        second.finish("finished", 0)
    attempts, notes = read_attempts(tmp_path)
    assert notes == []
    assert [(each.number, each.first_step, each.last_step, each.end) for each in attempts] == [
        (1, 0, 3, End(reason="preempted", exit_code=143)),
        (2, 2, 3, End(reason="finished", exit_code=0)),
    ]
    assert attempts[0].seconds.step >= 0.03
    assert (attempts[0].job, attempts[0].num_devices) == ("SLURM_JOB_ID=7", 8)
    assert goodput(attempts).repeated_steps == 1


def test_requests_that_were_tried_again_are_counted_and_older_entries_counted_none(tmp_path, monkeypatch):
    monkeypatch.setattr(RETRIES, "_counted", 0)
    monkeypatch.setattr(RETRIES, "_others", [lambda: 2])
    with ledger(tmp_path) as attempt:
        RETRIES.count("503")
        attempt.finish("finished", 0)
    [(before,), _] = read_attempts(tmp_path)
    assert before.retried_requests == 3
    file = tmp_path / LEDGER_FOLDER / "000001.json"
    for version in (0, 1):
        content = json.loads(file.read_bytes()) | {"version": version}
        content.pop("retried_requests", None)
        file.write_text(json.dumps(content))
        [(after,), notes] = read_attempts(tmp_path)
        assert (after, notes) == (dataclasses.replace(before, retried_requests=0), [])


def test_time_before_the_first_batch_is_startup_and_between_phases_later_is_other(tmp_path):
    phases = Phases()
    clock = PhaseClock(phases)
    time.sleep(0.02)
    with phases.enter("input"):
        pass
    time.sleep(0.01)
    seconds = clock.seconds()
    assert seconds["startup"] >= 0.02
    assert 0.01 <= seconds["other"] < seconds["startup"] + 1


def test_an_error_is_its_end_even_after_the_loop_was_done(tmp_path):
    attempt = ledger(tmp_path).__enter__()
    attempt.finish("finished", 0)
    attempt.__exit__(TransientError, TransientError("the last save\nfailed"), None)
    (entry,) = read_attempts(tmp_path)[0]
    assert entry.end == End(reason="failed", exit_code=ExitCode.TRANSIENT, message="the last save failed")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "disk full"), 75, "disk full; check free space"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nx"),
            3,
            "the devices have too little",
        ),
        (ZeroDivisionError("a bug"), 1, "ZeroDivisionError: a bug"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_end_has_the_exit_code_of_the_process(tmp_path, error, code, message):
    with pytest.raises(type(error)), ledger(tmp_path):
        raise error
    ((entry,), _) = read_attempts(tmp_path)
    assert (entry.end.reason, entry.end.exit_code) == ("failed", code)
    assert entry.end.message.startswith(message)


def test_a_step_below_the_last_means_that_the_run_went_back(tmp_path):
    with ledger(tmp_path, first_step=10) as attempt:
        for step in (11, 12, 13, 9, 10):
            attempt.reached(step)
    (entry,) = read_attempts(tmp_path)[0]
    assert (entry.first_step, entry.last_step, entry.num_steps) == (8, 10, 5)
    assert goodput([entry]).repeated_steps == 3


ENDED = """
import os, signal, sys
from pathlib import Path
from t5lite.core.process_end import end_now
from t5lite.training.ledger import Ledger
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases

facts = dict(first_step=0, found_step=0, num_processes=1, num_devices=1, waited_seconds=0.0, job=None)
with Ledger(Path(sys.argv[1]), PhaseClock(Phases()), say=print, **facts):
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    end_now(int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("how", "code", "end"),
    [("kill", -signal.SIGKILL, None), ("76", 76, End(reason="ended", exit_code=ExitCode.HANG))],
)
def test_the_end_of_a_process_that_does_not_unwind(tmp_path, how, code, end):
    ended = subprocess.run([sys.executable, "-c", ENDED, str(tmp_path), how], timeout=60, check=False)
    assert ended.returncode == code
    (entry,) = read_attempts(tmp_path)[0]
    assert entry.end == end


@pytest.mark.fault("an entry of a run's ledger is damaged", "named and left out of what the run cost", 0)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff{", "is not UTF-8 text"),
        (b"[]", "is not an object with the fields of Attempt"),
        (b'{"version": 99}', "was written by a newer t5lite: it has version 99, and this one reads up to 4"),
        (b'{"version": 4}', "'number' is missing"),
        ({"last_step": -5}, "contradict each other"),
        ({"seconds": {"step": -1}}, "step is negative"),
        ({"started": "today"}, "is not of type float"),
        ({"incidents": {"rollbacks": -1}}, "rollbacks is negative"),
    ],
)
def test_an_entry_that_cannot_be_read_is_said_and_left_out(tmp_path, content, message):
    with ledger(tmp_path):
        pass
    with ledger(tmp_path) as second:
        second.finish("finished", 0)
    file = tmp_path / LEDGER_FOLDER / "000001.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(file.read_bytes()) | content).encode()
    file.write_bytes(content)
    attempts, notes = read_attempts(tmp_path)
    assert [each.number for each in attempts] == [2]
    assert len(notes) == 1
    assert message in notes[0]
    said: list[str] = []
    with ledger(tmp_path, say=said.append):
        pass
    assert said == notes
    assert (tmp_path / LEDGER_FOLDER / "000003.json").is_file()


def test_a_run_that_lost_its_directory_writes_no_more_to_its_ledger(tmp_path):
    def taken_over():
        raise TransientError("taken over")

    said: list[str] = []
    with ledger(tmp_path, say=said.append) as attempt:
        before = (tmp_path / LEDGER_FOLDER / "000001.json").read_bytes()
        attempt._before_write = taken_over
    assert (tmp_path / LEDGER_FOLDER / "000001.json").read_bytes() == before
    assert said == ["what this attempt costs is not recorded (taken over); tried again while it lasts"]


@pytest.mark.fault("the ledger of a run cannot be written", "said once; the run goes on", 0)
def test_a_run_does_not_end_because_its_ledger_cannot_be_written(tmp_path):
    (tmp_path / LEDGER_FOLDER).write_text("in the place of the folder")
    said: list[str] = []
    with ledger(tmp_path, say=said.append) as attempt:
        attempt.reached(1)
    assert len(said) == 1
    assert "what this attempt costs is not recorded" in said[0]


def test_what_attempts_met_is_counted_and_an_entry_of_version_1_told_of_none(tmp_path):
    with ledger(tmp_path) as first:
        first.met("failed_saves")
        first.met("failed_saves", 2)
    with ledger(tmp_path) as second:
        second.met("rollbacks")
        second.left_out_examples = 96
        assert second.incidents() == {"left_out_examples": 96, "rollbacks": 1, "failed_saves": 3}
    attempts, _ = read_attempts(tmp_path)
    assert [each.incidents for each in attempts] == [Incidents(failed_saves=3), Incidents(rollbacks=1)]
    assert described(attempts[1].incidents, 96) == "1 rollback, 96 examples left out"
    file = tmp_path / LEDGER_FOLDER / "000001.json"
    content = json.loads(file.read_text())
    older = {name: content[name] for name in content if name not in ("incidents", "left_out_examples")}
    file.write_text(json.dumps(older | {"version": 1}))
    assert read_attempts(tmp_path)[0][0].incidents == Incidents()
