"""Training an adapter beside a model: from the command to its checkpoints, and what is made of them."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from t5lite.adapters import PromptTuning
from t5lite.checkpointing.reading import saved_shapes
from t5lite.cli.main import main
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import Refused
from tests.e2e.test_interruptions import _flat

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).with_name("tiny_lora_recipe.py")
PROMPT_RECIPE = Path(__file__).with_name("tiny_prompt_recipe.py")
ADAPTED = {"query", "value"}


def params_of(run: Path) -> dict[str, np.ndarray]:
    partitioner = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    return _flat(load_trained(Snapshot(RunDirectory.at(run)), partitioner).params)


def heldout_loss(run: Path) -> float:
    return json.loads((run / "evaluation.json").read_text())["metrics"]["loss"]


@pytest.fixture(scope="module")
def adapting(text_data: Path, pretrained: Path) -> list[str]:
    """``t5lite train`` of an adapter; a test adds ``--run-dir``."""
    return [
        *("train", "--config", str(RECIPE), "--initialize-from.run", str(pretrained)),
        *("--data.store", str(text_data / "train")),
        *("--evaluations.heldout.store", str(text_data / "heldout")),
    ]


@pytest.fixture(scope="module")
def adapted(adapting: list[str], tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("adapted") / "run"
    assert main([*adapting, "--run-dir", str(run)]) == 0
    return run


def test_a_checkpoint_has_the_adapter_alone_and_the_model_is_the_base_but_for_what_is_adapted(
    adapted: Path, pretrained: Path
):
    directory = RunDirectory.at(adapted).checkpoints
    saved = {*saved_shapes(directory, 16, "params"), *saved_shapes(directory, 16, "opt_state")}
    assert len(saved) > 36
    assert {name for name in saved if "_lora." not in name} == {"count"}
    size = {
        run: sum(f.stat().st_size for f in (run / "checkpoints").rglob("*")) for run in (adapted, pretrained)
    }
    assert size[adapted] < size[pretrained]
    got, base = params_of(adapted), params_of(pretrained)
    assert got.keys() == base.keys()
    for name, value in got.items():
        assert (value == base[name]).all() == (name.rpartition(".")[2] not in ADAPTED), name


def test_a_run_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    adapted: Path, adapting: list[str], tmp_path: Path, capfd
):
    run = Path(shutil.copytree(adapted, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "16")
    assert main([*adapting, "--run-dir", str(run)]) == 0
    said = capfd.readouterr().err
    assert "resuming from step 8" in said
    assert "trains 3,072 of 93,696 parameters, 12 of 41 arrays, " in said
    want = params_of(adapted)
    for name, value in params_of(run).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def test_commands_take_the_run_as_any_and_an_export_is_an_ordinary_model(
    adapted: Path, pretrained: Path, tmp_path: Path, capsys
):
    """Merged when it is read: the loss is the training's own, and that of the export that is imported."""
    assert main(["evaluate", "--run", str(adapted)]) == 0
    trained = [each for each in read_metrics(adapted / "metrics.jsonl") if each["kind"] == "eval"]
    assert heldout_loss(adapted) == pytest.approx(trained[-1]["loss"], rel=1e-5)
    assert abs(trained[-1]["loss"] - trained[0]["loss"]) > 1e-3
    output, run = str(tmp_path / "hf"), tmp_path / "imported"
    assert main(["export", "--run", str(adapted), "--output", output]) == 0
    assert main(["import", "--from", output, "--output", str(run)]) == 0
    want = params_of(adapted)
    for name, value in params_of(run).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def test_the_adapter_alone_is_exported_as_peft_has_it(
    adapted: Path, pretrained: Path, tmp_path: Path, capfd, refused: Refused
):
    output = tmp_path / "adapter"
    assert main(["export", "--run", str(adapted), "--format", "peft", "--output", str(output)]) == 0
    said = capfd.readouterr().out
    assert f"of step 16, an adapter of step 40 of {pretrained}" in said
    assert (
        f"peft.PeftModel.from_pretrained(T5ForConditionalGeneration.from_pretrained(BASE), '{output}')"
        in said
    )
    assert f"BASE is made by `t5lite export --run {pretrained} --step 40 --output BASE`" in said
    described = json.loads((output / "adapter_config.json").read_text())
    assert (described["r"], described["lora_alpha"], described["target_modules"]) == (4, 16, ["q", "v"])
    num_bytes = sum(file.stat().st_size for file in output.iterdir())
    assert num_bytes < 20_000
    run = tmp_path / "run"
    importing = ["import", "--from", str(output), "--output", str(run)]
    refused(importing, r"adapter of a base that it does not name; give the run that has that model by --base")
    assert main([*importing, "--base", str(pretrained)]) == 0
    assert "3,072 parameters of an adapter of 6 kernels from" in capfd.readouterr().out
    want = params_of(adapted)
    for name, value in params_of(run).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)
    importing = ["import", "--from", str(output), "--output", "new"]
    refused([*importing, "--base", str(run)], r"holds an adapter itself; give the base of")
    refused([*importing, "--vocabulary", "bytes"], r"leave --vocabulary and --extra-ids out")
    refused(
        ["export", "--run", str(pretrained), "--format", "peft", "--output", "new"],
        r"holds a whole model and no adapter; export that by --format huggingface, or train",
    )


def test_what_peft_saved_is_trained_on_without_saying_what_it_is(
    adapted: Path, adapting: list[str], pretrained: Path, tmp_path: Path, capfd
):
    """It begins where the adapter was, its checkpoints are beside the same base, and it goes on by itself."""
    folder, source, run = str(tmp_path / "adapter"), tmp_path / "source", tmp_path / "run"
    assert main(["export", "--run", str(adapted), "--format", "peft", "--output", folder]) == 0
    assert main(["import", "--from", folder, "--base", str(pretrained), "--output", str(source)]) == 0
    recipe = Path(__file__).with_name("tiny_fine_tuning_recipe.py")
    training = [*("train", "--config", str(recipe)), *adapting[3:], "--run-dir", str(run)]
    training += ["--initialize-from.run", str(source), "--training.total-steps", "8"]
    capfd.readouterr()
    assert main(training) == 0
    said = capfd.readouterr().err
    assert f"{source} holds LoRA(rank=4, " in said
    assert "trains 3,072 of 93,696 parameters" in said
    assert f"read beside step 40 of {pretrained}: keep that" in said
    first, last = [each for each in read_metrics(run / "metrics.jsonl") if each["kind"] == "eval"]
    before = [each for each in read_metrics(adapted / "metrics.jsonl") if each["kind"] == "eval"]
    assert first["loss"] == pytest.approx(before[-1]["loss"], rel=1e-5)
    assert last["loss"] != first["loss"]
    shutil.move(source, tmp_path / "gone")
    training[2], training[-1] = str(RECIPE), "12"
    assert main([*training, "--adapter.rank", "8", "--adapter.dropout", "0"]) == 0
    said = capfd.readouterr().err
    assert "note: the recipe's adapter has rank=8, " in said
    assert "not used: the one that is trained on has rank=4, " in said
    assert "resuming from step 8" in said


def test_a_prompt_is_trained_resumed_measured_written_with_and_exported(
    adapting: list[str], pretrained: Path, tmp_path: Path, capfd
):
    run = tmp_path / "run"
    training = ["train", "--config", str(PROMPT_RECIPE), *adapting[3:], "--run-dir", str(run)]
    assert main(training) == 0
    assert "trains 128 of 90,752 parameters, 1 of 30 arrays" in capfd.readouterr().err
    want = params_of(run)["prompt.embedding"]
    assert np.abs(want).max() > 1e-2
    saved = {*saved_shapes(RunDirectory.at(run).checkpoints, 16, "params")}
    assert saved == {"prompt.embedding"}
    shutil.rmtree(run / "checkpoints" / "16")
    assert main(training) == 0
    np.testing.assert_array_equal(params_of(run)["prompt.embedding"], want)
    assert main(["evaluate", "--run", str(run)]) == 0
    trained = [each for each in read_metrics(run / "metrics.jsonl") if each["kind"] == "eval"]
    assert heldout_loss(run) == pytest.approx(trained[-1]["loss"], rel=1e-5)
    assert trained[-1]["loss"] < trained[0]["loss"] - 2e-4  # this base hardly reads its encoder
    writing = ["generate", "--run", str(run), "--text", "It is a truth", "--max-decode-length", "4"]
    assert main(writing) == 0
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"sentence_good": "She was here.", "sentence_bad": "She were here."}')
    assert main(["evaluate", "--run", str(run), "--minimal-pairs", str(pairs)]) == 0
    output = str(tmp_path / "out")
    exporting = ["export", "--run", str(run), "--output", output]
    assert main(exporting) == 2
    assert "computes the same; export it by itself by --format peft" in capfd.readouterr().err
    assert main([*exporting, "--format", "peft"]) == 0
    again = tmp_path / "again"
    assert main(["import", "--from", output, "--base", str(pretrained), "--output", str(again)]) == 0
    assert "128 parameters of an adapter of 4 virtual tokens from" in capfd.readouterr().out
    begun = PromptTuning(num_tokens=4)._tokens(build(Snapshot(RunDirectory.at(run)).model.config))
    table = params_of(pretrained)["token_embedder.embedding"]
    np.testing.assert_allclose(
        params_of(again)["prompt.embedding"], want + table[begun], rtol=1e-6, atol=1e-6
    )


def test_a_base_that_is_gone_or_another_is_told_and_the_remedies_work(
    adapted: Path, adapting: list[str], pretrained: Path, tmp_path: Path, capfd
):
    base, run = tmp_path / "base", Path(shutil.copytree(adapted, tmp_path / "run"))
    model = run / "model.json"
    model.write_text(model.read_text().replace(str(pretrained), str(base)))
    evaluating = ["evaluate", "--run", str(run)]
    going_on = [*adapting, "--run-dir", str(run), "--initialize-from.run", str(base)]
    for command in (evaluating, going_on):
        capfd.readouterr()
        assert main(command) == 2
        assert f"step 40 of {base}, which is not there; bring it back" in capfd.readouterr().err
    base.symlink_to(pretrained)
    for command in (evaluating, going_on):
        assert main(command) == 0
    base.unlink()
    shutil.copytree(pretrained / "checkpoints" / "30", base / "checkpoints" / "40")
    for command in (evaluating, going_on):
        capfd.readouterr()
        assert main(command) == 2
        assert "as it was then: its parameters have the digest" in capfd.readouterr().err


def test_what_an_adapter_cannot_be_is_refused_before_anything_is_written(
    adapted: Path, adapting: list[str], tmp_path: Path, refused: Refused
):
    new, on = [*adapting, "--run-dir", "new"], [*adapting, "--run-dir", str(adapted)]
    refused([*new, "--adapter.rank", "33"], r"adapter\.rank=33 is more than .* use 32 or fewer")
    refused([*new, "--adapter.rank", "0"], r"adapter\.rank=0 must be 1 or more")
    refused([*new, "--adapter.targets", "final_norm"], r"'final_norm' matches none of the .* kernels")
    refused([*new, "--trainable", "decoder"], r"trained whole by trainable and adapted by adapter\.targets")
    prompt = ["train", "--config", str(PROMPT_RECIPE), *new[3:], "--initialize-from.run", str(adapted)]
    refused(prompt, r"a run that holds LoRA\(rank=4.* and adapter is PromptTuning\(.*leave adapter out")
    refused(
        [*on, "--adapter.rank", "8", "--training.total-steps", "20"],
        r"has trained LoRA\(rank=4, .* up to step 16, and adapter is LoRA\(rank=8, .*change it back",
    )
