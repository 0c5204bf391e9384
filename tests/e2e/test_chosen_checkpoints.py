"""Commands that take the best checkpoint, go back to an older one, or read a run that goes on."""

import json
import shutil
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.runner import averages
from t5lite.runner.checkpoint_choice import read_chosen
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import Refused
from tests.e2e.test_damaged_checkpoints import parameters
from tests.e2e.test_interruptions import _content


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_run_goes_back_to_an_older_checkpoint_once_and_is_the_run_it_was(
    train_arguments: list[str], pretrained: Path, run_copy: Path, capfd: pytest.CaptureFixture[str]
):
    arguments = [*train_arguments, "--run-dir", str(run_copy), "--from-step", "30"]
    longer = [*arguments, "--training.total-steps", "42", "--checkpoints.save-every-steps", "1"]
    # What was trained after step 30 is another run from there on.
    assert main([*arguments, "--schedule.peak", "0.02"]) == 0
    said = capfd.readouterr().err
    assert "going back from step 40 to 30: 10 steps are trained again; the later checkpoints (40) are" in said
    assert "resuming from step 30" in said
    assert names(run_copy) == ["30", "40"]
    assert parameters(run_copy, 40) != parameters(pretrained, 40)
    assert [entry["step"] for entry in _content(run_copy)] == [e["step"] for e in _content(pretrained)]
    metrics = read_metrics(run_copy / "metrics.jsonl")
    assert {entry["examples_seen"] - 8 * entry["step"] for entry in metrics} == {0}
    # A scheduler that starts the same command again does not throw these steps away.
    assert main(longer) == 0
    said = capfd.readouterr().err
    assert "has gone back to step 30 before and goes on from there" in said
    assert "resuming from step 40" in said
    assert names(run_copy) == ["41", "42"]
    # Nor does it later, when step 30 is kept no more.
    assert main([*longer, "--training.total-steps", "43"]) == 0
    assert "resuming from step 42" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("7", r"no checkpoint of step 7; available: 30, 40, newest, best"),
        (
            "best",
            r"none of the checkpoints of .* \(steps 30, 40\) has 'loss' of the evaluation 'heldout' in "
            r"metrics\.jsonl; choose one by",
        ),
        ("bset", r"'?bset'? must be .*best"),
    ],
)
def test_every_command_refuses_a_checkpoint_that_is_not_there_alike(
    refused: Refused, train: list[str], run_copy: Path, tmp_path: Path, step: str, message: str
):
    (run_copy / "metrics.jsonl").unlink()
    refused([*train, "--run-dir", run_copy, "--from-step", step], message)
    refused(["evaluate", "--run", run_copy, "--step", step], message)
    refused(["generate", "--run", run_copy, "--text", "a", "--step", step], message)
    refused(["export", "--run", run_copy, "--output", tmp_path / "hf", "--step", step], message)
    source = ["--initialize-from.run", run_copy, "--initialize-from.step", step]
    refused([*train, "--run-dir", tmp_path / "tuned", *source], message)


def make_30_the_best(run: Path) -> None:
    file = run / "metrics.jsonl"
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    evaluation = next(entry for entry in reversed(entries) if entry["kind"] == "eval")
    entries.append({**evaluation, "step": 30, "loss": evaluation["loss"] - 1})
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.mark.slow
def test_the_best_checkpoint_is_the_one_of_the_lowest_loss(
    run_copy: Path, train_arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    make_30_the_best(run_copy)
    output = tmp_path / "best"
    assert main(["export", "--run", str(run_copy), "--output", str(output), "--step", "best"]) == 0
    assert "weights of step 30" in capfd.readouterr().out
    # Of those that are there: the evaluation of step 20 counts for nothing.
    assert read_chosen(RunDirectory.at(run_copy), "best", lambda step: step) == 30
    source = ["--initialize-from.run", str(run_copy), "--initialize-from.step", "best"]
    short = ["--training.total-steps", "15", "--evaluations", "None"]
    assert main([*train_arguments, "--run-dir", str(tmp_path / "tuned"), *source, *short]) == 0
    assert f"of step 30 from {run_copy}" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_goes_back_to_the_best_checkpoint_once_and_not_to_what_is_the_best_by_then(
    train_arguments: list[str], run_copy: Path, capfd: pytest.CaptureFixture[str]
):
    make_30_the_best(run_copy)
    arguments = [*train_arguments, "--run-dir", str(run_copy), "--from-step", "best", "--seed", "0"]
    assert main([*arguments, "--training.total-steps", "33", "--checkpoints.save-every-steps", "1"]) == 0
    assert "going back from step 40 to 30" in capfd.readouterr().err
    file = run_copy / "metrics.jsonl"
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    entries.append({"kind": "eval", "step": 32, "loss": 0.0})
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert main([*arguments, "--training.total-steps", "34"]) == 0
    said = capfd.readouterr().err
    assert "has gone back to the best step before and goes on from there" in said
    assert "resuming from step 33" in said


@pytest.mark.fault(
    "a live run removes the checkpoint that `evaluate`, `generate` or `export` reads",
    "the newer one is read, said",
    0,
)
def test_what_a_live_run_removes_while_it_is_read_is_no_damage(
    run_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    checkpoints, restore = run_copy / "checkpoints", averages.restore_params
    shutil.move(checkpoints / "40", tmp_path / "40")

    def go_on_meanwhile(directory, abstract, step, **options):
        if step == 30:
            shutil.move(tmp_path / "40", checkpoints / "40")
            shutil.rmtree(checkpoints / "30" / "state")
        return restore(directory, abstract, step, **options)

    monkeypatch.setattr(averages, "restore_params", go_on_meanwhile)
    output = tmp_path / "hf"
    assert main(["export", "--run", str(run_copy), "--output", str(output)]) == 0
    captured = capfd.readouterr()
    assert "weights of step 40" in captured.out
    assert "note: step 30 was removed by the run that goes on; taking step 40" in captured.err
