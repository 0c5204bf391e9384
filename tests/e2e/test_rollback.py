"""Numbers that go bad in ``t5lite train``: it goes back, leaves examples out, and ends well or by code 4."""

import gc
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from t5lite.checkpointing.reading import read_metadata
from t5lite.cli.main import main
from t5lite.runner import preparation
from t5lite.runner.status import run_status
from t5lite.training.incidents import Incidents
from t5lite.training.metrics_log import read_metrics
from tests.e2e import poisoned_training
from tests.e2e.conftest import REPOSITORY, contents

CLOCK = {"step_seconds", "tokens_per_second", "input_stall", "mfu", "goodput"}
LEDGER = {"left_out_examples", *Incidents.__dataclass_fields__}
"""What entries say of the attempts before."""
SHORT = [
    *("--training.total-steps", "24", "--evaluations", "None"),
    *("--checkpoints.save-every-steps", "5", "--training.max-nonfinite-steps", "3"),
]
POISONED = (96, 119)
"""Places of the batches of steps 13 to 15."""


def metrics(run: Path) -> list[dict]:
    entries = [entry for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] == "train"]
    return [{name: value for name, value in entry.items() if name not in CLOCK | LEDGER} for entry in entries]


def fingerprints(run: Path, step: int) -> dict:
    return json.loads((run / "checkpoints" / str(step) / "fingerprints" / "metadata").read_text())


@pytest.fixture
def poisoned(monkeypatch):
    monkeypatch.setattr(
        poisoned_training.Pipeline, "rows", poisoned_training.Pipeline.rows
    )  # undone at the end
    poisoned_training.poison(*POISONED)


@pytest.mark.slow
@pytest.mark.fault(
    "examples make the loss NaN for `training.max_nonfinite_steps` in a row",
    "back to the last good checkpoint, and on without them; recorded in `rollbacks.json`",
    0,
)
def test_a_run_goes_on_as_one_that_never_had_the_poisoned_examples(
    train_arguments: list[str], tmp_path: Path, poisoned, capfd, monkeypatch
):
    alive, read_state = [], preparation.read_state

    def watched(*arguments):
        alive.append(sum(array.nbytes for array in jax.live_arrays()))
        return read_state(*arguments)

    monkeypatch.setattr(preparation, "read_state", watched)
    run, other = tmp_path / "run", tmp_path / "other"
    gc.collect()
    at_first = sum(array.nbytes for array in jax.live_arrays())
    assert main([*train_arguments, *SHORT, "--run-dir", str(run)]) == 0
    said = capfd.readouterr().err
    assert (
        "3 steps in a row went bad, up to step 15: grad_norm, loss, token_accuracy, z_loss are not finite; "
        "going back to step 10, without the examples 88 to 119 from now on (rollback 1 of at most 3 to there)"
    ) in said
    assert "left out, since the numbers went bad there (rollbacks.json): the examples 88 to 119" in said
    assert f"resuming from step 10 of {run / 'checkpoints'}" in said
    # The state that went bad is gone from the devices before the good one is read.
    assert alive == [at_first]
    status = run_status(str(run))
    assert (status.incidents, status.left_out_examples) == (Incidents(rollbacks=1), 32)
    last = read_metrics(run / "metrics.jsonl")[-1]
    assert (last["rollbacks"], last["left_out_examples"], last["examples_seen"]) == (1, 32, 192)
    metadata = read_metadata(run / "checkpoints", 24)
    assert (metadata["examples_seen"], metadata["left_out"]) == (192, [[88, 120]])

    shutil.copytree(run, other, ignore=shutil.ignore_patterns("checkpoints", "metrics.jsonl"))
    assert main([*train_arguments, *SHORT, "--run-dir", str(other)]) == 0
    assert metrics(run) == metrics(other)
    assert fingerprints(run, 24) == fingerprints(other, 24)


@pytest.mark.fault(
    "a learning rate ruins the parameters, finite or not",
    "no good checkpoint is lost; after `training.max_rollbacks` in vain it ends, naming the examples",
    4,
)
@pytest.mark.slow
def test_a_rate_that_ruins_a_good_run_costs_it_nothing(run_copy: Path, capfd):
    """Every step is saved, also the first ruined one, whose loss was still good."""
    good = contents(run_copy / "checkpoints" / "40")
    config = ["train", "--config", str(run_copy / "config.json"), "--run-dir", str(run_copy)]
    options = ["--training.total-steps", "100", "--checkpoints.save-every-steps", "1"]
    options += ["--checkpoints.keep-last", "1", "--training.eval-every-steps", "None"]
    ruin = ["--schedule.peak", "2", "--training.max-rollbacks", "1", "--training.max-nonfinite-steps", "4"]
    assert main([*config, *options, *ruin]) == 4
    *lines, last = capfd.readouterr().err.splitlines()
    spikes = [line for line in lines if "the loss is a spike" in line]
    assert spikes[0].startswith("step 42: the loss is a spike: ")
    assert last.startswith("t5lite train: 4 steps in a row went bad, up to step 45: the loss is a spike: ")
    assert "1 rollbacks that left out the examples 320 to 359 did not help" in last
    assert last.endswith("and run again: that resumes from step 40")
    saved = {path.name for path in (run_copy / "checkpoints").iterdir()}
    assert saved == {"40", "41.set-aside"}
    assert contents(run_copy / "checkpoints" / "40") == good

    lower = ["--schedule.peak", "0.01", "--training.total-steps", "43"]
    assert main([*config, *lower]) == 0
    assert "spike" not in capfd.readouterr().err
    metadata = read_metadata(run_copy / "checkpoints", 43)
    assert (metadata["examples_seen"], metadata["left_out"]) == (43 * 8, [])


@pytest.mark.fault("`kill -9` within a rollback", "the next start comes to the same rollback", 0)
@pytest.mark.slow
def test_kill_9_in_a_rollback_changes_nothing(train_arguments: list[str], tmp_path: Path, poisoned):
    """Killed before the rollback is recorded, then before it is gone on from."""
    run = tmp_path / "run"
    arguments = [*train_arguments, *SHORT, "--run-dir", str(run)]
    program = [sys.executable, "-m", "tests.e2e.poisoned_training", *map(str, POISONED)]
    for place in ("write", "restart"):
        killed = subprocess.run(
            [*program, place, *arguments], cwd=REPOSITORY, capture_output=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (run / "rollbacks.json").is_file() == (place == "restart")
    assert main(arguments) == 0
    (rollback,) = json.loads((run / "rollbacks.json").read_text())["rollbacks"]
    assert (rollback["to_step"], rollback["first_example"], rollback["last_example"]) == (10, 88, 119)
    metadata = read_metadata(run / "checkpoints", 24)
    assert (metadata["examples_seen"], metadata["left_out"]) == (192, [[88, 120]])
    assert [(entry["step"], entry["nonfinite"]) for entry in metrics(run)] == [(n, 0) for n in range(1, 25)]
