"""Recipes that reproduce published runs have the published numbers, which stand here as in the sources."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from t5lite import run_config
from t5lite.data.position import DataPosition
from t5lite.models.parameter_count import count_embeddings, count_parameters
from t5lite.optim import AdafactorConfig, AdamWConfig
from t5lite.optim.base import BaseOptimizer
from t5lite.runner.config_changes import check_changes, config_changes
from t5lite.runner.resumption import Resumption
from t5lite.scaling.sweeps import read_sweep

CONFIGS = Path(__file__).parents[2] / "configs"
OF_A_CPU = CONFIGS / "nanogpt_shakespeare_char.py"
RECIPES = {path.stem: path for path in [*(CONFIGS / "reproductions").glob("*.py"), OF_A_CPU]}


@dataclass(frozen=True)
class Published:
    """What a source says of a run."""

    parameters: int
    """In millions."""
    rows: int
    lengths: tuple[int, ...]
    steps: int
    rates: dict[int, float]
    """By completed updates."""
    z_loss: float
    clip: float | None
    dropout: float
    adamw: tuple[float, float, float, float] | None = None
    """Decays of the moments, epsilon, weight decay times the rate; None is T5X's Adafactor."""


PUBLISHED = {
    "t5_baseline": Published(
        220, 128, (512,), 1 << 19, {0: 0.01, 10_000: 0.01, 1 << 18: 2**-9}, 1e-4, None, 0.1
    ),
    "t5_1_1_base": Published(
        248, 128, (512, 114), 1 << 16, {0: 0.01, 40_000: 0.005, 1 << 16: 0}, 1e-4, None, 0.0
    ),
    "nanot5": Published(
        248, 128, (512, 114), 65_536, {10_000: 2e-2, 65_536: 1e-5}, 0, 1.0, 0.0, (0.9, 0.999, 1e-6, 0)
    ),
    "megatron_t5_220m": Published(
        220, 512, (512,), 100_000, {1000: 1e-4, 100_000: 1e-5}, 0, 1.0, 0.1, (0.9, 0.999, 1e-8, 0.01)
    ),
    "bert_base": Published(
        110, 256, (128,), 1_000_000, {10_000: 1e-4, 1_000_000: 0}, 0, 1.0, 0.1, (0.9, 0.999, 1e-6, 0.01)
    ),
    "gpt2_124m": Published(
        124, 480, (1024,), 600_000, {2000: 6e-4, 600_000: 6e-5}, 0, 1.0, 0.0, (0.9, 0.95, 1e-8, 0.1)
    ),
    "modernbert_base": Published(
        149, 4608, (1024,), 364_304, {636: 8e-4, 364_304: 8e-4}, 0, None, 0.0, (0.9, 0.98, 1e-6, 1e-5 / 8e-4)
    ),
    "t5_efficient_base": Published(223, 128, (512, 114), 524_288, {10_000: 0.01}, 1e-4, None, 0.1),
    "chinchilla_1018m": Published(
        944, 256, (2048,), 93_700, {1000: 1.6e-4, 93_700: 1.6e-5}, 0, 1.0, 0.0, (0.9, 0.95, 1e-8, 0.1)
    ),
    "nanogpt_shakespeare_char": Published(
        1, 12, (64,), 2000, {100: 1e-3, 1050: 5.5e-4, 2000: 1e-4}, 0, 1.0, 0.0, (0.9, 0.99, 1e-8, 0.1)
    ),
}


def test_every_reproduction_is_held_to_something():
    assert RECIPES.keys() == PUBLISHED.keys()
    page = (CONFIGS.parent / "docs" / "reproductions.md").read_text(encoding="utf-8")
    assert [name for name in RECIPES if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_reproduction_is_as_published(name):
    config, published = run_config.load(RECIPES[name]), PUBLISHED[name]
    assert count_parameters(config.model) / 1e6 == pytest.approx(published.parameters, abs=3)  # as rounded
    training, step = config.training, config.step
    assert (training.batch_size, training.total_steps) == (published.rows, published.steps)
    lengths = config.data.batch_spec(config.model.architecture).lengths
    sides = tuple(length for length in lengths.values() if length)
    assert sides[: len(published.lengths)] == published.lengths
    schedule = config.schedule.build(training.total_steps)
    for updates, rate in published.rates.items():
        assert float(schedule(updates)) == pytest.approx(rate, rel=2e-3, abs=1e-9), updates
    assert (step.z_loss, step.max_gradient_norm) == (published.z_loss, published.clip)
    assert config.model.dropout_rate == published.dropout
    optimizer: BaseOptimizer = AdafactorConfig()
    if published.adamw is not None:
        b1, b2, eps, decay = published.adamw
        scaled = name == "nanot5"
        optimizer = AdamWConfig(b1=b1, b2=b2, eps=eps, weight_decay=decay, multiply_by_parameter_rms=scaled)
    assert config.optimizer == optimizer


def test_the_last_phase_of_bert_goes_on_as_its_header_says():
    """From a checkpoint that is kept, and nothing changes but what is allowed there."""
    text = RECIPES["bert_base"].read_text(encoding="utf-8").replace("\\\n", " ")
    (said,) = [line.split() for line in text.splitlines() if "--continue-from" in line]
    words = said[said.index("--run-dir") : said.index("--allow-change")]
    whole, last = (run_config.load(RECIPES["bert_base"], each) for each in ([], words))
    begun = last.continue_from
    assert begun is not None
    assert (begun.run, begun.step) == (whole.run_dir, 900_000)
    assert begun.step % (whole.checkpoints.keep_every_steps or 0) == 0
    resumed = Resumption(step=1, position=DataPosition(1), saved_config=run_config.to_json(whole))
    found = config_changes(resumed, last, dict.fromkeys(map(".".join, last.stores), ""))
    check_changes(found, allowed=[said[-1]], step=1, run="x")
    assert [each.field for each in found if each.effect.needs_leave] == [said[-1]]


def test_the_baselines_rows_are_as_full_as_its_header_says():
    data = run_config.load(RECIPES["t5_baseline"]).data
    layout = data.objective.layout(data.inputs_length, "encoder_decoder")
    mask_BN = data.objective.noise_mask(
        layout.tokens, key=np.array([1, 2], np.uint64), indices=np.arange(2000)
    )
    masked = mask_BN.sum(axis=1).mean()
    spans = (np.diff(mask_BN, axis=1, prepend=False) & mask_BN).sum(axis=1).mean()
    ends_kept = (~mask_BN[:, -1]).mean()  # which has a sentinel in the targets, too
    inputs, targets = layout.tokens - masked + spans + 1, masked + spans + ends_kept + 1
    said = f"{inputs:.0f} of 512 inputs and {targets:.0f} of {layout.decoder_length} targets"
    assert said in RECIPES["t5_baseline"].read_text(encoding="utf-8")


def test_tokens_of_whole_runs_are_the_published_ones():
    def tokens(name: str) -> int:
        config = run_config.load(RECIPES[name])
        return config.training.batch_size * config.training.total_steps * config.data.inputs_length

    assert tokens("t5_baseline") == 2**35  # section 3.1.2: "2^35, about 34B tokens"
    assert tokens("gpt2_124m") / 600_000 == 491_520  # "~0.5M", and 300B in all
    assert tokens("gpt2_124m") == pytest.approx(300e9, rel=0.02)
    assert 0 <= tokens("modernbert_base") - 1_719e9 < 4608 * 1024
    warmup = 636 * 4608 * 1024
    assert warmup == pytest.approx(3e9, rel=1e-3)
    assert tokens("chinchilla_1018m") * 6 * 1018e6 == pytest.approx(3e20, rel=1e-3)


def test_parameters_that_were_printed_to_the_digit():
    models = {name: run_config.load(path).model for name, path in RECIPES.items()}
    assert count_parameters(models["bert_base"]) == 110_106_428
    assert count_parameters(models["gpt2_124m"]) - 1024 * 768 == 123_587_328  # nanoGPT: "123.59M"
    characters = replace(models["nanogpt_shakespeare_char"], vocab_size=65)
    assert count_parameters(characters) - 64 * 128 == 795_904  # nanoGPT: "0.80M"
    assert f"{count_parameters(models['t5_efficient_base']) / 1e6:.1f}" == "222.9"  # the model's card
    assert count_embeddings(models["megatron_t5_220m"]) == (29_184 + 2 * 512) * 768


def test_the_ladder_s_sizes_are_those_of_chinchilla_s_table():
    """It counts a kernel of positions, d x d, in every layer, where these models have a table of biases."""
    (runs,) = read_sweep(CONFIGS / "sweeps" / "chinchilla_ladder.py").families.values()
    source = (CONFIGS / "sweeps" / "chinchilla_ladder.py").read_text(encoding="utf-8")
    printed = {
        int(width): int(millions) for millions, width in re.findall(r"(\d+): \((\d+), \d+, \d+\)", source)
    }
    for model in {run.model for run in runs}:
        positions = model.num_layers * model.embed_dim**2
        assert (count_parameters(model) + positions) / 1e6 == pytest.approx(
            printed[model.embed_dim], rel=0.01
        )
        assert model.mlp_dim == 4 * model.embed_dim == 4 * model.num_heads * model.head_dim
    assert max(run.training.total_steps for run in runs) < 1e6
