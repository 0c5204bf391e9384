"""``t5lite train --model``: a published shape in the place of the recipe's."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from t5lite import run_config
from t5lite.cli import train_command
from t5lite.cli.main import main
from t5lite.models.config import EncoderDecoderConfig, Execution
from t5lite.run_config import RunConfig

RECIPE = Path(__file__).parents[3] / "configs" / "pretrain_laptop.py"


def test_a_preset_replaces_the_shape_and_overrides_come_after():
    recipe = run_config.load(RECIPE)
    words = ["--model.num-encoder-layers", "2", "--model.vocab-size", "2176", "--seed", "3"]
    config = run_config.load(RECIPE, words, model="t5-1.1-small")
    assert isinstance(config.model, EncoderDecoderConfig)
    assert (config.model.embed_dim, config.model.num_heads) == (512, 6)
    assert (config.model.num_encoder_layers, config.model.num_decoder_layers) == (2, 8)
    assert (config.model.vocab_size, config.seed) == (2176, 3)
    assert config.execution == recipe.execution == Execution(scan_unroll=-1)
    assert config.data == recipe.data


@pytest.fixture
def trained(monkeypatch) -> list[RunConfig]:
    """The configurations that reach ``train``, which ends as if preempted."""
    configs: list[RunConfig] = []

    def train(config: RunConfig, *_: object, **__: object) -> SimpleNamespace:
        configs.append(config)
        return SimpleNamespace(signal=15, step=7)

    monkeypatch.setattr(train_command, "train", train)
    monkeypatch.setattr(train_command.xla, "configure", lambda: None)
    monkeypatch.setattr(train_command.multihost, "initialize", lambda **_: None)
    return configs


def test_the_command_takes_a_preset_and_says_it_again_for_resuming(trained, capsys):
    arguments = ["--config", str(RECIPE), "--model", "t5-small", "--model.num-decoder-layers", "3"]
    assert main(["train", *arguments]) == 128 + 15
    assert trained[0].model == run_config.load(RECIPE, arguments[4:], model="t5-small").model
    assert capsys.readouterr().err.endswith(f"t5lite train {' '.join(arguments)}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--form-step", "3"], "there is no --form-step; did you mean --from-step?"),
        (["compile", "--topology", "v5e:2x2", "--jsn"], "there is no --jsn; did you mean --json?"),
        (
            ["launch", "slurm", "--gpus-per-nodes=3"],
            "there is no --gpus-per-nodes; did you mean --gpus-per-node?",
        ),
        (
            ["train", "--sed", "model"],
            "unrecognized options: --sed, model; perhaps you meant: --seed; see t5lite train",
        ),
    ],
)
def test_a_mistyped_option_of_the_command_is_no_override(words, message, trained, capsys):
    assert main([*words, "--config", str(RECIPE)]) == 2
    assert trained == []
    assert capsys.readouterr().err.startswith(f"t5lite {words[0]}: {message}")


def test_an_unknown_preset_ends_in_one_line(trained, capsys):
    assert main(["train", "--config", str(RECIPE), "--model", "t5-smal"]) == 2
    assert trained == []
    assert capsys.readouterr().err == (
        "t5lite train: unknown model 't5-smal'; did you mean 't5-small'? `t5lite models` lists all of them\n"
    )
