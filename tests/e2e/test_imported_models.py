"""Imported models are measured, and fine-tuned, without a recipe of their own shape."""

import json
import shutil
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.core.errors import ConfigError
from t5lite.data.objectives import CausalLM, MaskedLM, SpanCorruption
from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig, LearnedPositions, ModelConfig
from t5lite.run_config import EvaluationConfig
from t5lite.runner.imported import measuring_config
from t5lite.runner.run_directory import RunDirectory
from tests.e2e.conftest import Refused

SHAPE = {"embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2, "vocab_size": 640}


def test_an_imported_model_is_measured_without_a_recipe(imported: Path, text_data: Path, capsys):
    assert main(["evaluate", "--run", str(imported)]) == 2
    assert "was imported and names no held-out store; give one by --store" in capsys.readouterr().err
    options = ["--store", str(text_data / "heldout"), "--inputs-length", "32", "--max-examples", "1"]
    assert main(["evaluate", "--run", str(imported), *options]) == 0
    captured = capsys.readouterr()
    assert "1 examples in batches of 1; the first one compiles" in captured.err
    assert "imported, without a recipe: measured by SpanCorruption, with inputs of 32 tokens" in captured.out
    assert "encoder_use is left out: it swaps the inputs of two examples" in captured.out
    result = json.loads((imported / "evaluation.json").read_text())
    assert set(result["metrics"]) >= {"loss", "perplexity"}
    assert "unigram" not in result["metrics"]  # there is no training text to count
    assert result["settings"]["data"]["inputs_length"] == 32
    assert json.loads(next((imported / "evaluations").iterdir()).read_text()) == result


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        (None, SpanCorruption()),
        (DecoderOnlyConfig(**SHAPE, num_layers=1, max_length=48), CausalLM()),
        (EncoderOnlyConfig(**SHAPE, num_layers=1, max_length=48), MaskedLM()),
        (EncoderOnlyConfig(**SHAPE, num_layers=1, head="pretraining"), MaskedLM(next_sentence=True)),
    ],
)
def test_text_is_measured_by_the_usual_objective(model: ModelConfig | None, objective, imported, text_data):
    directory = RunDirectory.at(imported)
    model = model or directory.read_model()[0]
    evaluation = EvaluationConfig(store=str(text_data / "heldout"))
    config, note = measuring_config(directory, model, evaluation)
    assert config.prompted_data.objective == objective
    assert config.prompted_data.inputs_length == model.max_length
    assert f"measured by {type(objective).__name__}, with inputs of {model.max_length} tokens" in note


@pytest.mark.parametrize("max_length", [16, 512])
def test_pairs_are_as_long_as_the_longest_and_the_model_allow(max_length, imported, pair_data):
    directory = RunDirectory.at(imported)
    evaluation = EvaluationConfig(store=str(pair_data / "heldout"))
    for model in (
        DecoderOnlyConfig(**SHAPE, num_layers=1, positions=LearnedPositions(), max_length=max_length),
        EncoderOnlyConfig(**SHAPE, num_layers=1, head="sequence_classification", max_length=max_length),
    ):
        config, note = measuring_config(directory, model, evaluation)
        for length in config.data.lengths(model.architecture):
            model.check_length(length)
        assert "measured by pairs" in note
        given, _ = measuring_config(directory, model, evaluation, inputs_length=8)
        assert given.prompted_data.inputs_length == 8


def test_what_an_imported_model_cannot_is_said(
    imported, text_data, pair_data, refused: Refused, pretrained, train
):
    headless = EncoderOnlyConfig(**SHAPE, num_layers=1, head="pooled")
    with pytest.raises(Exception, match=r"head='pooled', .*; evaluate measures no such model"):
        measuring_config(
            RunDirectory.at(imported), headless, EvaluationConfig(store=str(text_data / "heldout"))
        )
    of_pairs = EvaluationConfig(store=str(pair_data / "heldout"))
    for head, remedy in {
        "pooled": "evaluate measures no such",
        "masked_lm": "give it text",
    }.items():
        model = EncoderOnlyConfig(**SHAPE, num_layers=1, head=head)
        with pytest.raises(ConfigError, match=f"{head}.*, which tells no targets of pairs apart; {remedy}"):
            measuring_config(RunDirectory.at(imported), model, of_pairs)
    for types in (1, 2):  # RoBERTa's and BERT's
        spans = EncoderOnlyConfig(**SHAPE, num_layers=1, head="span_extraction", num_token_types=types)
        config, _ = measuring_config(RunDirectory.at(imported), spans, of_pairs)
        assert ("encoder_token_types" in config.data.batch_spec("encoder_only").fields) == (types == 2)
    refused(["evaluate", "--run", pretrained, "--inputs-length", 8], "is for imported models; .*=32 and")
    remedy = rf"is an imported model, .*fine-tune it by --initialize-from\.run {imported} --model {imported}"
    for metadata in (imported / "checkpoints").glob("*/metadata/*"):
        metadata.write_text(json.dumps({"imported_from": "hf"}))
    refused([*train[:-1], imported], remedy)


@pytest.mark.slow
def test_ids_that_end_a_text_survive_import_and_export(exported: Path, tmp_path: Path):
    folder, run, again = (tmp_path / name for name in ("hf", "run", "again"))
    shutil.copytree(exported, folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**generation, "eos_token_id": [1, 5, 9000]}))
    assert main(["import", "--from", str(folder), "--output", str(run)]) == 0
    assert RunDirectory.at(run).read_model_file().eos_ids == (5,)
    assert main(["export", "--run", str(run), "--output", str(again)]) == 0
    assert json.loads((again / "generation_config.json").read_text())["eos_token_id"] == [1, 5]


@pytest.mark.slow
def test_a_recipe_takes_the_shape_of_a_run(pretrained: Path, train: list[str], tmp_path: Path, capfd):
    """`--model RUN` is the remedy that the refusal names."""
    words = [*train, "--initialize-from.run", str(pretrained), "--training.total-steps", "1"]
    words += ["--training.eval-every-steps", "None"]
    words += ["--schedule.warmup-steps", "0", "--schedule.decay-steps", "1"]
    assert main([*words, "--model", "t5-1.1-small"]) == 2
    errors = capfd.readouterr().err
    assert f"take its shape by --model {pretrained}" in errors
    assert main([*words, "--model", str(pretrained)]) == 0
    assert RunDirectory.at(tmp_path / "run").read_model()[0] == RunDirectory.at(pretrained).read_model()[0]
