"""A run of before evaluations had names goes on with two of them, through the real commands."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t5lite.cli.main import main
from t5lite.runner.checkpoint_choice import best_step
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import RECIPE, REPOSITORY

GOLDEN = REPOSITORY / "tests" / "golden" / "config_version_2.json"
TWO = """
import dataclasses, runpy

def config():
    config = runpy.run_path({recipe!r})["config"]()
    (heldout,) = config.evaluations.values()
    half = dataclasses.replace(heldout, store={store!r}, max_examples=16, every_steps=2)
    return dataclasses.replace(config, evaluations={{"heldout": heldout, "half": half}})
"""


@pytest.fixture
def old_run(run_copy: Path, text_data: Path) -> Path:
    """A finished run as a version wrote it in which the one evaluation had no name."""
    values = json.loads(GOLDEN.read_text())
    values["run_dir"] = str(run_copy)
    values["data"]["store"], values["evaluation"]["store"] = (
        str(text_data / name) for name in ("train", "heldout")
    )
    (run_copy / "config.json").write_text(json.dumps(values))
    for file in run_copy.glob("checkpoints/*/metadata/metadata"):
        content = json.loads(file.read_text()) | {"config": values}
        file.write_text(json.dumps({key: value for key, value in content.items() if key != "metadata_crc32"}))
    lines = read_metrics(run_copy / "metrics.jsonl")
    unnamed = [{name: value for name, value in line.items() if name != "evaluation"} for line in lines]
    (run_copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in unnamed))
    return run_copy


@pytest.mark.slow
def test_an_old_run_goes_on_with_two_evaluations(
    old_run: Path, train_arguments: list[str], text_data: Path, tmp_path: Path, capfd
):
    recipe = tmp_path / "two.py"
    recipe.write_text(TWO.format(recipe=str(RECIPE), store=str(text_data / "heldout")))
    arguments = [str(recipe) if word == str(RECIPE) else word for word in train_arguments]
    arguments += ["--run-dir", str(old_run), "--training.total-steps", "43"]
    arguments += ["--checkpoints.save-every-steps", "1", "--checkpoints.keep-best", "1"]
    assert main([*arguments, "--checkpoints.best-metric", "hlaf/loss"]) == 2
    assert "names the evaluation 'hlaf', which is none; did you mean 'half'?" in capfd.readouterr().err
    assert main([*arguments, "--evaluations.half.batch-size", "0"]) == 2
    assert "evaluations.half.batch_size=0 must be positive" in capfd.readouterr().err
    best = ["--checkpoints.best-metric", "half/loss", "--checkpoints.best-is", "highest"]
    assert main([*arguments, *best]) == 0
    said = capfd.readouterr().err
    assert "step 42, half: loss" in said
    assert "heldout: loss" in said

    found = [entry for entry in read_metrics(old_run / "metrics.jsonl") if entry["kind"] == "eval"]
    measured = {(entry["evaluation"], entry["step"]): entry["loss"] for entry in found}
    assert list(measured) == [
        *(("heldout", step) for step in (0, 20, 40)),
        *[("half", 40), ("half", 42), ("heldout", 43), ("half", 43)],
    ]
    scores = {step: loss for (name, step), loss in measured.items() if name == "half"}
    assert best_step(Snapshot(RunDirectory.at(old_run))) == max(scores, key=lambda step: scores[step])
    events = EventAccumulator(str(old_run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("eval/half/loss")] == [40, 42, 43]
    assert [event.step for event in events.Scalars("eval/heldout/loss")] == [43]

    never = ["--evaluations.half.every-steps", "99", "--checkpoints.best-metric", "loss"]
    assert main([*arguments, *never, "--training.total-steps", "44"]) == 0
    said = capfd.readouterr().err
    assert (
        "evaluations.half.every_steps=99 is more than training.total_steps=44: it is made before the" in said
    )

    assert main(["status", str(old_run)]) == 0
    page = capfd.readouterr().out
    assert "eval heldout step 44: loss" in page
    assert "eval half    step 44: loss" in page

    evaluate = ["evaluate", "--run", str(old_run)]
    assert main([*evaluate, "--evaluations", "hlaf"]) == 2
    assert "--evaluations names the evaluation 'hlaf', which is none; did you mean" in capfd.readouterr().err
    assert main([*evaluate, "--store", str(text_data / "train")]) == 2
    assert "has the evaluations heldout, half; say which of them" in capfd.readouterr().err
    assert main(evaluate) == 0
    said = capfd.readouterr()
    assert f"at step 44, heldout: {text_data / 'heldout'} (32 examples)" in said.out
    assert f"at step 44, half: {text_data / 'heldout'} (16 examples)" in said.out
    assert "half: 16 examples in batches of 8" in said.err
    # The run was evaluated before, at an earlier step.
    records = [json.loads(file.read_text()) for file in (old_run / "evaluations").iterdir()]
    records = [record for record in records if record["step"] == 44]
    assert {record["name"]: record["num_examples"] for record in records} == {"heldout": 32, "half": 16}
    newest = {entry["evaluation"]: entry["loss"] for entry in read_metrics(old_run / "metrics.jsonl")[-2:]}
    found = {record["name"]: record["metrics"]["loss"] for record in records}
    assert found == pytest.approx(newest, rel=1e-5)
