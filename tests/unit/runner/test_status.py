"""``t5lite status``: what files tell of a run."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t5lite.checkpointing.lease import LEASE_FOLDER, LeaseConfig, held_lease
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError, TransientError
from t5lite.core.files import write_json, write_text
from t5lite.core.storage.addresses import place
from t5lite.core.storage.retries import RETRIES
from t5lite.runner.status import run_status
from t5lite.training.attempts import LEDGER_FOLDER
from t5lite.training.ledger import Ledger
from t5lite.training.metrics_log import MetricsLog
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases


@pytest.fixture
def run(tmp_path):
    return started_run(tmp_path / "run")


def started_run(directory):
    write_json(directory / "config.json", {"training": {"total_steps": 40}})
    write_text(directory / "checkpoints" / "10" / "commit_success.txt", "")
    write_text(directory / "checkpoints" / "20.orbax-checkpoint-tmp" / "x", "")
    return directory


@contextlib.contextmanager
def attempt(directory, first_step=0, last_step=0, end=None):
    phases = Phases()
    with Ledger(
        directory,
        PhaseClock(phases),
        first_step=first_step,
        found_step=0,
        num_processes=2,
        num_devices=16,
        waited_seconds=0.0,
        job=None,
        say=print,
    ) as ledger:
        for step in range(first_step, last_step):
            with phases.enter("step"):
                ledger.reached(step + 1)
        log = MetricsLog(directory, start_step=first_step)
        log.write("train", last_step, {"loss": 2.5})
        log.write("eval", 10, {"evaluation": "heldout", "loss": 3.5})
        log.close()
        yield ledger
        if end:
            ledger.finish(*end)


def killed(directory, first_step=0, last_step=0):
    """Leave the entry of an attempt that was killed."""
    with attempt(directory, first_step, last_step):
        pass
    newest = max((directory / LEDGER_FOLDER).iterdir())
    write_json(newest, json.loads(newest.read_bytes()) | {"end": None, "pid": 1})


def held(directory):
    return held_lease(directory, LeaseConfig(), print)


def test_a_run_that_was_killed_and_goes_on(run, capsys):
    killed(run, 0, 17)
    with held(run), attempt(run, 10, 30):
        status = run_status(str(run))
        assert main(["status", str(run)]) == 0
    assert (status.state, status.step, status.total_steps, status.checkpoints) == ("running", 30, 40, (10,))
    assert (status.train["loss"], status.evaluations["heldout"]["loss"]) == (2.5, 3.5)
    assert status.cost.repeated_steps == 7
    assert status.silent_seconds is not None
    assert status.silent_seconds < 60
    page = capsys.readouterr().out
    assert f"{run}: running at step 30 of 40 (75%), last sign of life " in page
    assert f"held by      process {os.getpid()} on " in page
    assert "7 steps came to nothing" in page
    first, second = page.splitlines()[-2:]
    assert first.endswith("killed: no end was written")
    assert "10 → 30 (7 again)  2          16       running" in second


def test_how_a_run_ended(run):
    with attempt(run, 0, 40, end=("finished", 0)):
        pass
    status = run_status(str(run))
    assert (status.state, status.holder, status.silent_seconds) == ("finished", None, None)
    killed(run, 0, 3)
    assert run_status(str(run)).state == "killed"
    with contextlib.suppress(ConfigError), attempt(run, 0, 3):
        raise ConfigError("of no use")
    status = run_status(str(run))
    assert (status.state, status.attempts[-1].end.message) == ("failed", "of no use")


def test_a_run_whose_files_stand_still_is_silent_and_one_whose_process_is_gone_was_killed(run):
    with held(run) as lease, attempt(run, 0, 3):
        (beat,) = (run / LEASE_FOLDER).glob("*.beat")
        os.utime(beat, (time.time() - 100, time.time() - 100))
        status = run_status(str(run))
        assert status.state == "silent"
        assert 100 <= status.silent_seconds < 160
        (claim,) = (run / LEASE_FOLDER).glob("*.json")
        write_json(claim, dataclasses.asdict(lease.holder) | {"born": "1"})
        assert run_status(str(run)).state == "killed"
        write_text(claim, "{")
        assert "cannot be named" in run_status(str(run)).holder
        claim.write_text(json.dumps(dataclasses.asdict(lease.holder)))


def test_a_run_is_silent_by_the_deadline_that_its_own_lease_says(run):
    """Not by the configuration, which a run reads once and anybody may edit."""
    write_json(run / "config.json", {"lease": {"deadline_seconds": 30.0}})
    config = LeaseConfig(heartbeat_seconds=100, deadline_seconds=300)
    with held_lease(run, config, print), attempt(run, 0, 3):
        (beat,) = (run / LEASE_FOLDER).glob("*.beat")
        for seconds, state in ((200, "running"), (400, "silent")):
            os.utime(beat, (time.time() - seconds, time.time() - seconds))
            assert run_status(str(run)).state == state


def test_a_run_that_starts_has_no_files_yet(tmp_path):
    with held(tmp_path):
        assert run_status(str(tmp_path)).state == "starting"


def test_requests_to_storage_that_were_tried_again_are_told(run, capsys, monkeypatch):
    monkeypatch.setattr(RETRIES, "_others", [lambda: 1200])
    monkeypatch.setattr(RETRIES, "_counted", 0)  # without those of other tests of the process
    with attempt(run, 0, 10, end=("finished", 0)):
        pass
    assert main(["status", str(run)]) == 0
    assert "  tried again  1,20" in capsys.readouterr().out


def test_a_run_of_an_older_version_has_no_ledger(run):
    status = run_status(str(run))
    assert (status.state, status.attempts, status.cost.total_seconds) == ("unknown", (), 0)


def test_damage_is_said_and_the_rest_is_shown(run, capsys):
    killed(run, 0, 5)
    (run / "metrics.jsonl").write_text("{\n{}\n")
    (run / LEDGER_FOLDER / "000002.json").write_text("{")
    assert main(["status", str(run)]) == 0
    page = capsys.readouterr().out
    assert "metrics.jsonl, line 1 is not an entry" in page
    assert "000002.json is not JSON" in page
    assert "killed at step 5 of 40" in page


def test_several_runs_are_a_row_each_and_what_is_no_run_is_said(run, tmp_path, capsys):
    killed(run, 0, 5)
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "model.json").write_text("{}")
    (tmp_path / "file").write_text("")
    others = [str(tmp_path / name) for name in ("missing", "file", "imported")]
    assert main(["status", str(run), str(run), *others]) == 2
    said = capsys.readouterr()
    header, *rows = said.out.splitlines()
    assert header.split()[:3] == ["run", "state", "step"]
    assert [row.split()[1:5] for row in rows] == [["killed", "5", "of", "40"]] * 2
    assert said.err.count("\n") == 1
    assert said.err.count("is not a run (no config.json)") == 2
    assert "is an imported model" in said.err


def test_json_for_machines(run, capsys):
    killed(run, 0, 5)
    assert main(["status", str(run), "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert (status["state"], status["step"], status["attempts"][0]["num_devices"]) == ("killed", 5, 16)
    assert 0 <= status["cost"]["goodput"] <= 1


def test_a_run_in_a_bucket(bucket):
    address = f"{bucket}/status/run"
    directory = started_run(place(address))
    write_text(directory / "checkpoints" / "20" / "half", "")
    with held(directory), attempt(directory, 0, 30):
        status = run_status(address)
    assert (status.state, status.step, status.checkpoints) == ("running", 30, (10,))
    assert (status.train["loss"], status.silent_seconds < 60) == (2.5, True)
    assert run_status(address).state == "killed"  # it was never told how the loop ended


def test_neither_jax_nor_a_client_of_object_storage_is_imported_for_a_local_run(run):
    code = (
        "import sys; from t5lite.cli.main import main; main(sys.argv[1:]); "
        "print([name for name in ('jax', 'fsspec', 'orbax') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "status", str(run)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.endswith("\n[]\n"), shown.stdout
    assert Path(run, "config.json").is_file()


def test_a_run_that_cannot_be_read_hides_no_other(run, tmp_path, monkeypatch, capsys):
    def cut_off(name):
        if name == "gs://bucket/x":
            raise TransientError("gs://bucket/x does not answer")
        return run_status(name)

    monkeypatch.setattr("t5lite.cli.status_command.run_status", cut_off)
    odd = tmp_path / "odd"
    for path in (odd / "config.json", odd / "checkpoints"):
        write_text(path, "{}")
    for runs, code in (([odd, run], 2), ([run, odd, "nothing"], 2), ([odd, "gs://bucket/x", run], 75)):
        assert main(["status", *map(str, runs)]) == code
        told = capsys.readouterr()
        assert f"{run}  unknown  " in told.out
        assert f"{odd / 'checkpoints'}: Not a directory" in told.err
        assert ("does not answer" in told.err) == (code == 75)


def test_a_dead_run_says_since_when_and_what_it_met_and_a_finished_one_grows_no_older(run, capsys):
    with attempt(run, 0, 17) as ledger:
        ledger.met("rollbacks", 2)
        ledger.met("failed_saves")
        ledger.left_out_examples = 96
    (entry,) = (run / LEDGER_FOLDER).iterdir()
    content = json.loads(entry.read_bytes())
    hour_ago = content | {"started": content["started"] - 3600, "end": None, "pid": 1}
    write_json(entry, hour_ago)
    status = run_status(str(run))
    assert (status.state, status.incidents.rollbacks, status.left_out_examples) == ("killed", 2, 96)
    assert 3600 <= status.down_seconds < 3700
    assert status.cost.lost_seconds["down"] == pytest.approx(status.down_seconds)
    assert main(["status", str(run)]) == 0
    page = capsys.readouterr().out
    assert "incidents    2 rollbacks, 96 examples left out, 1 failed save\n" in page
    assert "down         no heartbeat for 1 h" in page
    assert "; last attempt ended 20" in page
    assert " (killed)\n" in page
    with held(run):
        status = run_status(str(run))
        assert (status.state, status.down_seconds) == ("starting", None)
        assert status.cost.lost_seconds["down"] >= 3600
    write_json(entry, hour_ago | {"end": {"reason": "finished", "exit_code": 0}})
    status = run_status(str(run))
    assert (status.down_seconds, status.cost.lost_seconds["down"]) == (None, 0)
