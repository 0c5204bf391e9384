"""The general commands on a user's own text, one after the other, through the real entry point."""

import json
import re
import shutil
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.core.errors import UserError
from t5lite.core.storage.addresses import place
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import RECIPE, REPOSITORY


def test_training_learns_and_leaves_a_described_run(pretrained: Path):
    entries = read_metrics(pretrained / "metrics.jsonl")
    heldout = [entry["loss"] for entry in entries if entry["kind"] == "eval"]
    assert len(heldout) == 3
    assert heldout[-1] < heldout[0] - 1
    assert {entry["step"] for entry in entries if entry["kind"] == "train"} == set(range(1, 41))
    listed = (pretrained / "README.txt").read_text()
    for path in pretrained.iterdir():
        assert path.name == "README.txt" or path.name in listed
    assert any((pretrained / "tensorboard").iterdir())


def test_saved_configuration_is_a_recipe_and_a_finished_run_is_left_alone(pretrained: Path, capfd):
    before = (pretrained / "metrics.jsonl").read_bytes()
    assert main(["train", "--config", str(pretrained / "config.json")]) == 0
    assert (pretrained / "metrics.jsonl").read_bytes() == before
    assert "is finished: step 40 of training.total_steps=40" in capfd.readouterr().err


def test_evaluate_prints_and_writes(pretrained: Path, capsys):
    assert main(["evaluate", "--run", str(pretrained)]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((pretrained / "evaluation.json").read_text())["metrics"]
    assert set(metrics) >= {"loss", "perplexity", "text_loss", "encoder_use", "unigram", "bigram"}
    assert all(name in printed for name in metrics)
    last = [e for e in read_metrics(pretrained / "metrics.jsonl") if e["kind"] == "eval"][-1]
    assert metrics["loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert metrics["bigram"] < metrics["unigram"]


@pytest.mark.slow
def test_a_held_out_store_that_is_trained_on_is_said_once(
    pretrained: Path, train_arguments: list[str], text_data: Path, tmp_path: Path, monkeypatch, capfd
):
    note = "note: the held-out store {} holds what is trained on, " + str(text_data / "train")
    copy = str(shutil.copytree(text_data / "train", tmp_path / "copy"))
    assert main(["evaluate", "--run", str(pretrained), "--store", copy, "--max-examples", "8"]) == 0
    assert capfd.readouterr().out.count(note.format(copy)) == 1
    assert main(["evaluate", "--run", str(pretrained), "--max-examples", "8"]) == 0
    assert "trained on" not in capfd.readouterr().out

    def reached(*_, **__):
        raise UserError("everything was accepted")

    monkeypatch.setattr("t5lite.runner.training.compile_train_step", reached)
    train = [*train_arguments, "--run-dir", str(tmp_path / "run"), "--evaluations.heldout.store"]
    for store in (str(text_data / "train"), copy):
        assert main([*train, store]) == 2
        said = capfd.readouterr().err
        assert said.count(note.format(store)) == 1
        assert "everything was accepted" in said
    assert main([*train, str(text_data / "heldout")]) == 2
    assert "trained on" not in capfd.readouterr().err


def test_the_remedy_for_a_task_on_text_works(pretrained: Path, capsys):
    evaluate = ["evaluate", "--run", str(pretrained), "--max-examples", "8"]
    assert main([*evaluate, "--task", "translation"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"but /\S+/train is plain text; leave the task out, or fine-tune on pairs first", said)
    assert (REPOSITORY / re.findall(r"configs/\w+\.py", said)[0]).is_file()
    assert main(evaluate) == 0


def test_generate_from_argument_and_file_agree(pretrained: Path, tmp_path: Path, capsys):
    texts = ["Emma was <extra_id_0> and rich", "It is a truth <extra_id_0>"]
    options = ["--max-decode-length", "8", "--encoder-length", "32"]
    assert main(["generate", "--run", str(pretrained), "--text", *texts, *options]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    files = ["--input-file", str(tmp_path / "in.txt"), "--output-file", str(tmp_path / "out.txt")]
    assert main(["generate", "--run", str(pretrained), *files, *options]) == 0
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == printed


@pytest.mark.slow
def test_export_import_round_trip_writes_the_same_text(pretrained: Path, tmp_path: Path, capsys):
    assert main(["export", "--run", str(pretrained), "--output", str(tmp_path / "hf")]) == 0
    assert main(["import", "--from", str(tmp_path / "hf"), "--output", str(tmp_path / "back")]) == 0
    capsys.readouterr()
    options = ["--text", "It is a truth <extra_id_0>", "--max-decode-length", "8", "--encoder-length", "32"]
    assert main(["generate", "--run", str(pretrained), *options]) == 0
    original = capsys.readouterr().out
    assert main(["generate", "--run", str(tmp_path / "back"), *options]) == 0
    assert capsys.readouterr().out == original


@pytest.mark.slow
def test_fine_tuning_takes_parameters_only_and_says_so(
    pretrained: Path, pair_data: Path, tmp_path: Path, capfd, gcs
):
    recipe = tmp_path / "pairs.py"
    recipe.write_text(
        f"import dataclasses, runpy\n"
        f"from t5lite.data.pipeline import PairsDataConfig\n"
        f"from t5lite.run_config import EvaluationConfig, InitializeFrom\n"
        f"def config():\n"
        f"    base = runpy.run_path({str(RECIPE)!r})['config']()\n"
        f"    return dataclasses.replace(base,\n"
        f"        data=PairsDataConfig(store={str(pair_data / 'train')!r}, inputs_length=64,\n"
        f"                             targets_length=64, pack=True),\n"
        f"        evaluations={{'heldout': EvaluationConfig(store={str(pair_data / 'heldout')!r},\n"
        f"                                 batch_size=8, max_examples=8, task='translation',\n"
        f"                                 task_in_training=True)}},\n"
        f"        initialize_from=InitializeFrom(run={str(pretrained)!r}))\n"
    )
    run = tmp_path / "run"
    best = ["--checkpoints.keep-best", "1", "--checkpoints.best-metric", "chrf"]
    words = ["--run-dir", str(run), "--training.total-steps", "20", *best]
    assert main(["train", "--config", str(recipe), *words]) == 0
    errors = capfd.readouterr().err
    assert "of step 40 from" in errors
    assert f"listed in {run / 'initialized_from.txt'}" in errors
    first, *leaves = (run / "initialized_from.txt").read_text().splitlines()
    assert first.startswith(f"parameters of step 40 from {pretrained / 'checkpoints'} ({len(leaves)} arrays)")
    assert "token_embedder.embedding (640, 32) float32" in "\n".join(leaves)
    assert "initialized_from.txt" in (run / "README.txt").read_text()
    assert "tokens fill" in errors
    entries = read_metrics(run / "metrics.jsonl")
    assert [entry["step"] for entry in entries if entry["kind"] == "train"] == list(range(1, 21))
    heldout = [entry for entry in entries if entry["kind"] == "eval"]
    assert heldout[-1]["loss"] < heldout[0]["loss"]
    assert main(["evaluate", "--run", str(run)]) == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    measured = evaluation["metrics"].keys() - {"bits_per_byte"}  # which is of texts, and no training measures
    assert {"bleu", "chrf"} <= measured <= heldout[-1].keys()
    assert heldout[-1]["chrf"] == pytest.approx(evaluation["metrics"]["chrf"])
    assert evaluation["samples"][0]["inputs"].startswith("translate:")
    assert {"bleu", "chrf", "loss", "bits_per_byte"} <= evaluation["intervals"].keys()
    (kept,) = (run / "evaluations").glob("*.jsonl")
    file = tmp_path / "predictions.jsonl"
    command = ["evaluate", "--run", str(run), "--predictions", str(file)]
    capfd.readouterr()
    assert main(command) == 0
    assert "  [" in capfd.readouterr().out
    assert file.read_text() == kept.read_text()
    examples = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({each["example"] for each in examples}) == evaluation["num_examples"] == 8
    assert examples[0]["scores"].keys() == {"bleu", "chrf"}
    assert main(command) == 2
    assert f"{file} is there already" in capfd.readouterr().err
    in_bucket = f"{gcs}/predictions.jsonl"
    assert main([*command[:-1], in_bucket]) == 0
    assert place(in_bucket).read_text() == file.read_text()
    assert main([*command[:-1], in_bucket]) == 2
    assert f"{in_bucket} is there already" in capfd.readouterr().err
