"""Averages, an early end, the best checkpoint and epochs: one fine-tuning by the command, and what then."""

import dataclasses
import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from t5lite import run_config
from t5lite.checkpointing.partial import restore_params
from t5lite.checkpointing.reading import saved_shapes
from t5lite.cli.main import main
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.run_config import InitializeFrom
from t5lite.runner import evaluation
from t5lite.runner.initialization import find_source, restore_source
from t5lite.runner.loading import TrainedModel, load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import Refused, contents
from tests.e2e.test_interruptions import _content, _flat

LORA_RECIPE = Path(__file__).with_name("tiny_lora_recipe.py")
NEVER_BETTER = ("--training.early-stopping-patience", "2", "--training.early-stopping-min-delta", "100")
OPTIONS = (
    *("--layerwise-learning-rate-decay", "0.5", "--training.ema-decay", "0.5", "--training.epochs", "0.25"),
    *("--evaluations.heldout.average", "ema", "--training.eval-every-steps", "4"),
    *("--checkpoints.save-every-steps", "4", "--checkpoints.keep-last", "3", "--checkpoints.keep-best", "1"),
)


def fine_tuning(arguments: list[str], source: Path, run: Path, *more: str) -> list[str]:
    return [*arguments, "--initialize-from.run", str(source), "--run-dir", str(run), *OPTIONS, *more]


@pytest.fixture(scope="module")
def tuned(train_arguments: list[str], pretrained: Path, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("tuned") / "run"
    assert main(fine_tuning(train_arguments, pretrained, run, *NEVER_BETTER)) == 0
    return run


def parameters(run: Path, step: int) -> dict[str, np.ndarray]:
    directory = RunDirectory.at(run)
    model = build(directory.read_model()[0])
    return _flat(restore_params(directory.checkpoints, model.abstract_params, step)[0])


def losses(run: Path, capsys: pytest.CaptureFixture[str], *options: str) -> float:
    assert main(["evaluate", "--run", str(run), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    return float(next(line for line in lines if line.split()[:1] == ["loss"]).split()[1])


@pytest.mark.slow
def test_it_ends_early_and_a_start_of_what_has_ended_says_so_and_goes_on_where_told(
    tuned: Path, train_arguments: list[str], pretrained: Path, tmp_path: Path, capfd
):
    steps = [entry["step"] for entry in read_metrics(tuned / "metrics.jsonl") if entry["kind"] == "eval"]
    assert steps == [0, 4, 8]
    run = Path(shutil.copytree(tuned, tmp_path / "run"))
    before = contents(run)
    capfd.readouterr()
    assert main(fine_tuning(train_arguments, pretrained, run, *NEVER_BETTER)) == 0
    said = capfd.readouterr().err
    assert "has ended early, at step 8 of " in said
    assert "loss last improved by more than 100 at step 0" in said
    changed = {name for name, content in contents(run).items() if before.get(name) != content}
    assert not {name for name in changed if not name.startswith(("lease", "ledger"))}
    shutil.rmtree(run / "checkpoints" / "8")  # as if it had been killed before its last save
    assert main(fine_tuning(train_arguments, pretrained, run, *NEVER_BETTER)) == 0
    said = capfd.readouterr().err
    assert "ends early, at step 8: loss last improved by more than 100 at step 0" in said
    assert "resuming from step 4" in said
    assert _content(run) == _content(tuned)
    want = parameters(tuned, 8)
    for name, value in parameters(run, 8).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)
    longer = ("--training.early-stopping-patience", "None", "--training.epochs", "0.1")
    assert main(fine_tuning(train_arguments, pretrained, run, *longer)) == 0
    said = capfd.readouterr().err
    assert "training.epochs=0.1 of " in said
    assert "resuming from step 8" in said


@pytest.mark.slow
def test_averages_are_kept_measured_and_exported(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    entries = read_metrics(tuned / "metrics.jsonl")
    in_training = [entry["loss"] for entry in entries if entry["kind"] == "eval"][-1]
    assert losses(tuned, capsys) == pytest.approx(in_training, abs=1e-3)
    assert losses(tuned, capsys, "--average", "1") != pytest.approx(in_training, abs=1e-3)
    trained = saved_shapes(RunDirectory.at(tuned).checkpoints, 8, "params")
    state = saved_shapes(RunDirectory.at(tuned).checkpoints, 8, "opt_state")
    assert {
        name.removeprefix("average."): shape for name, shape in state.items() if "average." in name
    } == trained
    mean, newest = tmp_path / "mean", tmp_path / "newest"
    assert main(["export", "--run", str(tuned), "--output", str(mean), "--average", "2"]) == 0
    assert "weights the mean of steps 4, 8" in capsys.readouterr().out
    assert main(["export", "--run", str(tuned), "--output", str(newest), "--step", "4"]) == 0
    four, both = load_file(newest / "model.safetensors"), load_file(mean / "model.safetensors")
    shutil.rmtree(newest)
    assert main(["export", "--run", str(tuned), "--output", str(newest)]) == 0
    for name, eight in load_file(newest / "model.safetensors").items():
        np.testing.assert_allclose(both[name], (four[name] + eight) / 2, rtol=1e-6, atol=1e-7, err_msg=name)


def test_a_source_that_hardly_uses_its_encoder_is_warned_of(
    pretrained: Path, train_arguments: list[str], run_copy: Path, tmp_path: Path, refused: Refused, capfd
):
    def said() -> str:
        run = str(tmp_path / "tuned")
        with pytest.raises(AssertionError, match="reached the expensive part"):
            main([*train_arguments, "--initialize-from.run", str(run_copy), "--run-dir", run])
        return capfd.readouterr().err

    warning = f"warning: {run_copy} hardly uses its encoder (encoder_use "
    assert warning in said()
    file = run_copy / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    used = [line | {"encoder_use": 0.5} if "encoder_use" in line else line for line in lines]
    file.write_text("".join(json.dumps(line) + "\n" for line in used))
    assert warning not in said()
    file.write_text("{")
    assert warning not in said()


@pytest.mark.slow
def test_the_best_is_taken_of_what_was_measured(
    tuned: Path, train_arguments: list[str], tmp_path: Path, refused: Refused, capfd
):
    """Its best was chosen by the moving average."""
    found = {}
    for place, words in enumerate([(), ("--average", "ema"), ("--average", "1")]):
        output = tmp_path / str(place)
        assert main(["export", "--run", str(tuned), "--output", str(output), "--step", "best", *words]) == 0
        said = capfd.readouterr()
        assert ("note: best was measured with average=ema, which is taken" in said.err) == (not words)
        assert (", the moving average" in said.out) == (words != ("--average", "1"))
        found[words] = load_file(output / "model.safetensors")
    averaged, asked, own = found.values()
    assert all((averaged[name] == asked[name]).all() for name in averaged)
    assert any((averaged[name] != own[name]).any() for name in averaged)
    source = ("--initialize-from.run", str(tuned), "--initialize-from.step", "best")
    with pytest.raises(AssertionError, match="reached the expensive part"):
        main([*train_arguments, *source, "--run-dir", str(tmp_path / "run")])
    said = capfd.readouterr().err
    assert f"is the best of {tuned} by its moving average, which is taken" in said
    best = find_source(InitializeFrom(run=str(tuned), step="best"))
    partitioner = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    taken, _ = restore_source(best, build(best.model.config), partitioner, seed=0)
    want = load_trained(Snapshot(RunDirectory.at(tuned)), partitioner, step="best", average="ema").params
    jax.tree.map(np.testing.assert_array_equal, taken, want)
    adapting = ["train", "--config", str(LORA_RECIPE), *train_arguments[3:], *source]
    refused([*adapting, "--run-dir", "new"], r"stands beside a checkpoint's parameters; take those by")


@pytest.mark.slow
def test_evaluations_of_other_averages_hold_one_set_of_parameters_at_a_time(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    shutil.copytree(tuned, run)
    config = run_config.load(run / "config.json")
    of_itself = dataclasses.replace(config.evaluations["heldout"], average=None)
    run_config.save(
        dataclasses.replace(config, evaluations={**config.evaluations, "own": of_itself}), run / "config.json"
    )
    loaded: list[weakref.ref[Any]] = []

    def load(*args: Any, **options: Any) -> TrainedModel:
        gc.collect()
        assert [ref for ref in loaded if ref() is not None] == []
        trained = load_trained(*args, **options)
        loaded.extend(map(weakref.ref, jax.tree.leaves(trained.params)))
        return trained

    monkeypatch.setattr(evaluation, "load_trained", load)
    averaged, own = evaluation.evaluate(run)
    assert averaged.metrics["loss"] != own.metrics["loss"]
    assert len(loaded) == 2 * len(parameters(run, own.step))


@pytest.mark.slow
def test_what_cannot_be_is_refused(
    tuned: Path, pretrained: Path, train_arguments: list[str], tmp_path: Path, refused: Refused
):
    for run, average, message in (
        (tuned, "0", r"average=0 must be 1 or more \(checkpoints\), or ema"),
        (
            tuned,
            "4",
            r"average=4 needs so many checkpoints up to step 8, and .* has 2 \(4, 8\)",
        ),
        (pretrained, "ema", r"no moving average of step 40.*trained without training\.ema_decay"),
    ):
        refused(["evaluate", "--run", run, "--average", average], message)
    again = fine_tuning(train_arguments, pretrained, tuned)
    refused(
        [*again, "--training.ema-decay", "None", "--evaluations.heldout.average", "None"],
        r"has a moving average of its parameters up to step 8, and training\.ema_decay is None now; change",
    )
    new = [*train_arguments, "--run-dir", tmp_path / "run"]
    for words, message in (
        (("--evaluations.heldout.average", "ema"), r"average='ema' is kept by training\.ema_decay"),
        (("--training.ema-decay", "1.0"), r"ema_decay=1\.0 must be between 0 and 1"),
        (("--training.early-stopping-patience", "0"), r"patience=0 must be 1 or more"),
        (
            ("--training.early-stopping-patience", "3", "--training.eval-every-steps", "None"),
            r"patience=3 counts evaluations before the last step, and there are none: give",
        ),
        (
            ("--checkpoints.keep-best", "1", "--checkpoints.best-metric", "los"),
            r"best_metric='los' is not what evaluations\.heldout measures in a training; did you mean 'loss'",
        ),
        (("--layerwise-learning-rate-decay", "1.5"), r"decay=1\.5 must be above 0 and at most 1"),
    ):
        refused([*new, *words], message)
