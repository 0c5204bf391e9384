"""What a run says and keeps, and where it can be used: other directories, other meshes, without its data."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.checkpointing.reading import read_state
from t5lite.cli.main import main
from t5lite.partitioning import multihost
from t5lite.runner import preparation
from t5lite.runner.evaluation import EvaluationChanges, evaluate
from t5lite.runner.status import run_status
from t5lite.runner.training import train
from t5lite.training.attempts import LEDGER_FOLDER
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import RECIPE, contents, start


def change(run: Path, **fields: dict) -> None:
    """Change fields of components in the saved configuration of a run."""
    values = json.loads((run / "config.json").read_text())
    for component, changes in fields.items():
        values[component] |= changes
    (run / "config.json").write_text(json.dumps(values))


@pytest.mark.slow
def test_a_saved_configuration_resumes_from_any_directory_and_the_outcome_has_the_last_metrics(
    text_data: Path, tmp_path: Path, monkeypatch, capfd
):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to(text_data)  # the recipe's own relative paths
    monkeypatch.chdir(tmp_path)
    config = run_config.load(RECIPE, ["--training.total-steps", "15", "--training.eval-every-steps", "None"])
    outcome = train(config)
    last = [entry for entry in read_metrics(Path("runs/tiny/metrics.jsonl")) if entry["kind"] == "eval"][-1]
    assert last["step"] == outcome.step == 15
    (metrics,) = outcome.metrics.values()
    assert metrics == {name: last[name] for name in metrics}
    assert {"loss", "text_loss", "encoder_use"} <= metrics.keys()
    capfd.readouterr()

    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--config", "../runs/tiny/config.json"]) == 0
    errors = capfd.readouterr().err
    assert errors == (
        f"{tmp_path}/runs/tiny is finished: step 15 of training.total_steps=15; raise that to train on\n"
    )
    assert list(Path().iterdir()) == []
    assert train(run_config.load(tmp_path / "runs/tiny/config.json")).metrics == {}


def test_a_run_evaluates_on_the_devices_that_are_there_and_without_its_training_text(
    pretrained: Path, run_copy: Path, capsys
):
    change(run_copy, partitioning={"fsdp": 4}, data={"store": "/gone"})
    assert main(["evaluate", "--run", str(run_copy)]) == 0
    printed = capsys.readouterr().out
    assert "unigram and bigram are left out, for the training text cannot be read: /gone " in printed
    metrics = json.loads((run_copy / "evaluation.json").read_text())["metrics"]
    assert "unigram" not in metrics
    last = [entry for entry in read_metrics(pretrained / "metrics.jsonl") if entry["kind"] == "eval"][-1]
    assert metrics["loss"] == pytest.approx(last["loss"], rel=1e-5)


@pytest.mark.slow
def test_a_run_evaluates_on_devices_that_do_not_divide_its_parameters(pretrained: Path, run_copy: Path):
    # Of widths 32 and 64.
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=3"
    process = start(["evaluate", "--run", str(run_copy), "--batch-size", "6"], XLA_FLAGS=flags)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "whole held-out text" in output
    last = [entry for entry in read_metrics(pretrained / "metrics.jsonl") if entry["kind"] == "eval"][-1]
    assert json.loads((run_copy / "evaluation.json").read_text())["metrics"]["loss"] == pytest.approx(
        last["loss"], rel=1e-5
    )


def test_baselines_say_what_they_are_of(run_copy: Path):
    (result,) = evaluate(run_copy, EvaluationChanges(max_examples=8))
    assert result.num_examples == 8
    text, baselines = result.notes
    assert text.startswith("bits_per_byte is text_loss by the ")
    assert baselines == "unigram and bigram are of the whole held-out text; compare them with text_loss"


def test_resuming_in_another_order_needs_leave_and_other_changes_are_listed(run_copy: Path, capfd):
    overrides = ["--run-dir", str(run_copy), "--seed", "5", "--training.log-every-steps", "2"]
    overrides += ["--training.total-steps", "42"]
    before = contents(run_copy)
    assert main(["train", "--config", str(run_copy / "config.json"), *overrides]) == 2
    assert "would not be the same experiment: seed: 0 → 5 (the examples come in" in capfd.readouterr().err
    assert contents(run_copy) == before
    overrides += ["--allow-change", "seed"]
    assert main(["train", "--config", str(run_copy / "config.json"), *overrides]) == 0
    lines = [line.strip() for line in capfd.readouterr().err.splitlines()]
    note, jump = (line for line in lines if "note: " in line)
    assert jump.startswith("note: the learning rate jumps from 0 to 0.01 at step 40: ")
    assert "note: seed: 0 → 5 (the examples come in another order: " in note
    assert "store" not in note
    assert not [line for line in lines if "never seen" in line]  # which of them, nobody knows now
    listed = "; ".join(line for line in lines if "changed since this run was started" in line)
    assert "training.log_every_steps: 1 → 2 (" in listed
    assert "training.total_steps: 40 → 42 (" in listed
    assert "seed" not in listed
    (entry,) = json.loads((run_copy / "config_history.json").read_text())["entries"]
    assert (entry["step"], entry["examples_seen"]) == (40, 320)
    recorded = {each["field"]: (each["effect"], each["allowed"]) for each in entry["changes"]}
    assert recorded["seed"] == ("order", True)
    assert recorded["training.total_steps"] == ("course", False)
    compiling, compiled = (line for line in lines if "the train step" in line)
    assert (compiling[:14], compiled[:12]) == ("compiling the ", "compiled the")
    assert lines.index(compiling) < lines.index(compiled)


def test_what_a_resuming_run_was_is_read_before_any_process_may_have_written(
    run_copy: Path, capfd, monkeypatch
):
    recipe = Path(shutil.copy(run_copy / "config.json", run_copy.parent / "recipe.json"))

    def read_while_the_leader_writes(*arguments):
        (run_copy / "config.json").unlink()
        return read_state(*arguments)

    monkeypatch.setattr(preparation, "read_state", read_while_the_leader_writes)
    arguments = ["--config", str(recipe), "--run-dir", str(run_copy), "--training.total-steps", "41"]
    assert main(["train", *arguments]) == 0
    assert "note: the learning rate jumps from 0 to " in capfd.readouterr().err


def test_a_run_that_was_killed_after_its_last_step_is_finished_once_it_is_started_again(
    run_copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (entry,) = (run_copy / LEDGER_FOLDER).iterdir()
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"end": None}))
    again = ["train", "--config", str(run_copy / "config.json"), "--run-dir", str(run_copy)]
    assert run_status(str(run_copy)).state == "killed"
    assert main(again) == 0
    assert "is finished: step 40" in capfd.readouterr().err
    status = run_status(str(run_copy))
    assert (status.state, status.step, [each.num_steps for each in status.attempts]) == (
        "finished",
        40,
        [40, 0],
    )
    before = contents(run_copy)
    assert main(again) == 0
    assert contents(run_copy) == before


def test_a_finished_run_is_left_as_it_is_whatever_else_is_asked(run_copy: Path, capfd):
    before = contents(run_copy)
    capfd.readouterr()
    arguments = ["--config", str(run_copy / "config.json"), "--run-dir", str(run_copy), "--seed", "5"]
    assert main(["train", *arguments, "--loader.num-workers", "1"]) == 0
    said = capfd.readouterr().err
    assert "is finished: step 40 of training.total_steps=40; raise that to train on; not taken: " in said
    assert "loader.num_workers: 0 → 1; " in said
    assert contents(run_copy) == before


@pytest.mark.slow
def test_a_run_that_diverges_says_so_and_fails(train_arguments: list[str], tmp_path: Path, capfd):
    run = tmp_path / "run"
    schedule = ["--schedule.peak", "1e30", "--schedule.decay-steps", "1", "--training.total-steps", "6"]
    arguments = [*train_arguments, "--run-dir", str(run), *schedule, "--checkpoints.save-every-steps", "3"]
    assert main(arguments) == 4
    *lines, last = capfd.readouterr().err.splitlines()
    first = next(line for line in lines if "not finite" in line)
    assert first == "step 2: grad_norm, loss, param_norm, z_loss are not finite"
    assert re.match(r"t5lite train: \d steps in a row went bad, up to step 6: .*loss.* not finite; ", last)
    evaluated = [entry for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] == "eval"]
    assert evaluated[-1]["token_accuracy"] == 0
    assert list((run / "checkpoints").glob("[0-9]*")) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("run", r" is .*run, which is read; write to a place apart"),
        ("run/hf", r" lies in .*run, which is read; write to a place apart"),
        ("", r" holds .*run, which is read; write to a place apart"),
        ("other", "has no generation_config.json, so it was not written by this command"),
    ],
)
def test_an_export_overwrites_no_run(place: str, message: str, run_copy: Path, tmp_path: Path, capsys):
    (tmp_path / "generation_config.json").write_text("{}")  # even of an exported folder
    shutil.copytree(run_copy, tmp_path / "other")
    before = sorted(tmp_path.rglob("*"))
    output = str(tmp_path / place)
    assert main(["export", "--run", str(run_copy), "--output", output, "--overwrite"]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_overwrites_an_export_and_nothing_of_anyone_else(pretrained: Path, tmp_path: Path, capsys):
    folder = tmp_path / "hf"
    arguments = ["export", "--run", str(pretrained), "--output", str(folder)]
    assert main(arguments) == 0
    written = contents(folder)
    assert main([*arguments, "--overwrite"]) == 0
    assert contents(folder) == written
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").touch()
    card = folder / "README.md"
    card.touch()
    assert main([*arguments, "--overwrite"]) == 2
    assert "holds 2 files (README.md, .git/HEAD) that t5lite did not write" in capsys.readouterr().err
    assert contents(folder).keys() == {*written, "README.md", ".git", ".git/HEAD"}
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--run", "nowhere", "--probe", "rows.tsv"],
        ["generate", "--run", "nowhere", "--text", "a"],
        ["export", "--run", "nowhere", "--output", "new"],
        ["import", "--from", "nowhere", "--output", "new"],
    ],
)
def test_commands_of_one_process_say_so_where_there_are_several(arguments, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(multihost, "one_process_note", lambda: "this command runs in one process")
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("t5lite: this command runs in one process\n")
