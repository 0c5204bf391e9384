"""``t5lite inspect-data`` through the real command, and damaged data in a real training."""

import json
import re
import shutil
from pathlib import Path

import pytest

from t5lite.cli import inspect_data_command
from t5lite.cli.main import main
from t5lite.data.pipeline import open_pipeline
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.step_examples import open_seen
from tests.e2e.conftest import RECIPE, Refused


def test_a_recipe_a_run_and_stores(text_data: Path, pair_data: Path, pretrained: Path, capsys):
    store = str(text_data / "train")
    assert main(["inspect-data", "--config", str(RECIPE), "--data.store", store, "--batches", "3"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"SpanCorruption, 32 \+ \d+ tokens a row, [\d,]+ rows an epoch", output)
    assert re.search(r"encoder +32 tokens +█+ 100\.0% filled", output)
    assert output.count("<extra_id_0>") == 4
    assert re.search(r"first batch after \d+\.\d\d s, then [\d,]+ batches a second", output)
    assert main(["inspect-data", "--run", str(pretrained), "--batches", "1", "--examples", "0"]) == 0
    assert "row 1" not in capsys.readouterr().out
    assert main(["inspect-data", "--store", store, "--batches", "2"]) == 0
    output = capsys.readouterr().out
    assert "tokens of documents" in output
    assert re.search(r"shortest \d+, 1% \d+, .*99% [\d,]+, longest [\d,]+\n", output)
    assert re.search(r"\d\.\d\d% of the tokens are unknown, in \d+\.\d% of the documents", output)
    assert main(["inspect-data", "--store", str(pair_data / "train"), "--batches", "2"]) == 0
    output = capsys.readouterr().out
    assert "inputs      translate: " in output
    assert "0 (0.0%) are longer than the 511 tokens that fit" in output
    assert re.search(r"of the tokens are unknown, in \d+\.\d% of the targets", output)


def test_a_step_of_a_run_and_of_its_recipe_is_the_batch_that_training_gets(
    text_data: Path, pretrained: Path, capsys
):
    store = ["--data.store", str(text_data / "train")]
    assert main(["inspect-data", "--config", str(RECIPE), *store, "--step", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["example"] for row in rows] == list(range(16, 24))
    data = RunDirectory.at(str(pretrained)).read_config().data
    batch = open_pipeline(data, architecture="encoder_decoder").batch(16, batch_size=8)
    for name, field in batch.items():
        assert [row[name] for row in rows] == field.tolist()
    assert main(["inspect-data", "--run", str(pretrained), "--step", "3", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert main(["inspect-data", "--run", str(pretrained), "--step", "40", "--examples", "1"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("step 40: examples 312 to 319, counted from 0\n\nexample 312\n  inputs")
    assert output.count("targets") == 1


def test_the_data_of_a_recipe_is_that_which_its_training_would_see(text_data: Path, monkeypatch, capsys):
    """With the classes of the run that it begins from, say, as a step of it is shown."""
    asked = []

    def seen(recipe, directory):
        asked.append((recipe.data.store, directory))
        return open_seen(recipe, directory)

    monkeypatch.setattr(inspect_data_command, "open_seen", seen)
    store = str(text_data / "train")
    given = ["inspect-data", "--config", str(RECIPE), "--data.store", store]
    assert main([*given, "--batches", "1", "--examples", "0"]) == 0
    assert main([*given, "--step", "1", "--examples", "0"]) == 0
    assert asked == [(store, None)] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "full", "--step", "1"], r"--step is of a recipe or a run"),
        (["--config", RECIPE, "--step", "1", "--batches", "3"], r"--batches measures many"),
        (["--config", RECIPE, "--json"], r"--json is of --step"),
        (["--config", RECIPE, "--step", "0"], r"step 0 is none of the run's, which are 1 to 40"),
        (["--config", RECIPE, "--step", "41"], r"step 41 is none of the run's"),
        (["--store", "nowhere"], r"nowhere is not a token store"),
        (["--store", "full", "--seed", "1"], r"--seed overrides a field of a recipe, but --store has none"),
        (["--config", RECIPE, "--batches", "0"], r"--batches and --batch-size be at least 1"),
        (["--run", "full"], r"full is not a run directory \(no model\.json\)"),
        (["--config", RECIPE], r"data/train is not a token store"),
    ],
)
def test_what_cannot_be_inspected(arguments, message, refused: Refused):
    refused(["inspect-data", *arguments], message)


def test_an_imported_model_and_the_directory_of_a_run_have_other_words(
    refused: Refused, imported, pretrained
):
    inspect = "inspect-data"
    refused([inspect, "--run", imported], f"{imported} was imported, .*; show a store by --store")
    refused([inspect, "--store", imported], "is not a token store: by its model.json, it is a run directory")
    refused([inspect, "--store", pretrained], f"is a run directory, not a store; --run {pretrained} shows")


@pytest.mark.slow
def test_damaged_data_stops_a_run_or_is_skipped_and_counted(text_data, train_arguments, tmp_path, capsys):
    store = tmp_path / "store"
    shutil.copytree(text_data / "train", store)
    shard = store / "tokens-00000.bin"
    with open(shard, "r+b") as stream:
        stream.truncate(shard.stat().st_size * 3 // 4)
    train = [*train_arguments, "--run-dir", str(tmp_path / "run"), "--data.store", str(store)]
    assert main(train) == 2
    assert "tokens-00000.bin has" in capsys.readouterr().err
    assert main([*train, "--loader.on-damage", "skip"]) == 0
    output = "".join(capsys.readouterr())
    assert re.search(r"\d+ rows left blank so far for damage in \d+ places .*tokens-00000\.bin", output)
