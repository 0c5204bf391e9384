"""Fine-tuning that trains a part of a model: from the command to its checkpoint, and what follows from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from t5lite.checkpointing.reading import saved_shapes
from t5lite.cli.main import main
from t5lite.runner.run_directory import RunDirectory
from tests.e2e.conftest import Refused
from tests.e2e.test_interruptions import _content, _flat, _params

pytestmark = pytest.mark.slow

FROZEN = ("encoder.", "token_embedder.")
TRAINABLE = ("--trainable", "!encoder", "!token_embedder")
FACTORS = ("--learning-rate-factors", "logits", "0.5")


def fine_tuning(arguments: list[str], source: Path, run: Path, *trainable: str) -> list[str]:
    return [
        *(*arguments, "--initialize-from.run", str(source), "--run-dir", str(run), *FACTORS),
        *(("--trainable", *trainable) if trainable else TRAINABLE),
        *(
            "--training.total-steps",
            "16",
            "--checkpoints.save-every-steps",
            "8",
            "--checkpoints.keep-last",
            "2",
        ),
        *("--training.eval-every-steps", "16"),
    ]


@pytest.fixture(scope="module")
def frozen(train_arguments: list[str], pretrained: Path, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("frozen") / "run"
    assert main(fine_tuning(train_arguments, pretrained, run)) == 0
    return run


def test_what_is_frozen_is_that_of_the_source_to_the_bit(frozen: Path, pretrained: Path):
    got, source = _flat(_params(frozen)), _flat(_params(pretrained))
    assert got.keys() == source.keys()
    for name, value in got.items():
        assert (value == source[name]).all() == name.startswith(FROZEN), name


def test_the_checkpoint_has_optimizer_state_of_what_is_trained_alone(frozen: Path, pretrained: Path):
    def with_state(run: Path) -> set[str]:
        directory = RunDirectory.at(run).checkpoints
        step = max(int(path.name) for path in directory.iterdir() if path.name.isdigit())
        state = saved_shapes(directory, step, "opt_state")
        return {name.removeprefix("moments.").rpartition(".")[0] for name in state} - {""}

    names = with_state(pretrained)
    assert with_state(frozen) == {name for name in names if not name.startswith(FROZEN)} < names


def test_a_run_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    frozen: Path, train_arguments: list[str], pretrained: Path, tmp_path: Path, capfd
):
    run = Path(shutil.copytree(frozen, tmp_path / "run"))
    shutil.rmtree(run / "checkpoints" / "16")
    assert main(fine_tuning(train_arguments, pretrained, run)) == 0
    said = capfd.readouterr().err
    assert "resuming from step 8" in said
    assert "trains 49,440 of 90,624 parameters, 17 of 29 arrays: decoder, logits\n" in said
    assert "learning rate times 0.5 for 20,480 parameters: logits\n" in said
    want = _flat(_params(frozen))
    for name, value in _flat(_params(run)).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)
    steps = [[entry for entry in _content(each) if entry["kind"] == "train"] for each in (run, frozen)]
    assert steps[0] == steps[1]


def test_a_run_goes_on_with_the_same_parameters_only_and_the_remedy_works(
    frozen: Path, train_arguments: list[str], pretrained: Path, tmp_path: Path, refused: Refused, capfd
):
    arguments = fine_tuning(train_arguments, pretrained, frozen)
    thawed = [word for word in arguments if word != "!token_embedder"]
    refused(
        thawed,
        r"optimizer state of what it trained up to step 16, .*\(newly trained: token_embedder\); change it "
        rf"back, or go on from these .* in another run_dir by --initialize-from\.run {frozen}",
    )
    refused(
        fine_tuning(train_arguments, pretrained, frozen, "None"), r"newly trained: encoder, token_embedder"
    )
    refused(fine_tuning(train_arguments, pretrained, frozen, "logits"), r"newly frozen: decoder\)")
    run = str(tmp_path / "thawed")
    capfd.readouterr()
    remedy = [*thawed, "--initialize-from.run", str(frozen), "--run-dir", run]
    other_words = fine_tuning(train_arguments, pretrained, frozen, "decoder", "logits")
    for accepted in (remedy, [*other_words, "--training.total-steps", "17"]):
        with pytest.raises(AssertionError, match="reached the expensive part"):
            main(accepted)
    assert "random" not in capfd.readouterr().err
    with pytest.raises(AssertionError, match="reached the expensive part"):
        main([*train_arguments, "--run-dir", str(tmp_path / "scratch"), "--trainable", "!encoder"])
    assert "11 arrays have random values and are frozen, so that they stay random" in capfd.readouterr().err


def test_evaluation_and_export_need_no_word_of_it(frozen: Path, tmp_path: Path, capsys):
    assert main(["evaluate", "--run", str(frozen)]) == 0
    assert "loss" in capsys.readouterr().out
    assert main(["export", "--run", str(frozen), "--output", str(tmp_path / "hf")]) == 0
    assert (tmp_path / "hf" / "model.safetensors").is_file()
