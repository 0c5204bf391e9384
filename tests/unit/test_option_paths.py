"""Options that are of another class than the recipe's, or of a field that is elsewhere, say what to do."""

import dataclasses
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.models.config import AttentionConfig, Execution, RelativePositions, RMSNorm
from t5lite.models.config.migration import RENAMED

RECIPE = Path(__file__).parents[1] / "e2e" / "tiny_recipe.py"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model.positions.base=3", r"is of RotaryPositions, and the recipe's model\.positions is Relative"),
        ("--model.positions.base=3", r"the recipe says: positions=RotaryPositions\(…\)$"),
        (
            "--model.positions=rotary",
            r"or RotaryPositions it is, here Relative.* by --model\.positions\.num-b",
        ),
        (
            "--model.num-layers=3",
            r"is EncoderDecoderConfig; did you mean --model\.num-encoder-layers\?",
        ),
        ("--model.encoder-sizes.mlp-dim=3", r"model\.encoder_sizes is None; .*encoder_sizes=StackSizes\(…\)"),
        ("--data.objective.mask-probability=1", r"is of MaskedLM, .* is SpanCorruption; .*MaskedLM\(…\)"),
        ("--model.remat=full", r"there is no --model\.remat; use --execution\.remat$"),
        ("--model.attention=flash", r"there is no --model\.attention; use --execution\.attention$"),
        (
            "--model.rotary-base=5",
            r"positions\.base is of RotaryPositions, .*: positions=RotaryPositions\(…\)$",
        ),
        (
            "--model.initializer-std=5",
            r"initializer\.std is of Normal.*: initializer=NormalInitializer\(…\)$",
        ),
        ("--evaluation.store=here", r"there is no --evaluation\.store; use --evaluations\.NAME\.store$"),
        ("--optimizer.decay-exponet=1", r"unrecognized options: .*perhaps you meant: --optimizer\.decay-exp"),
    ],
)
def test_an_override_of_another_class_or_place_says_what_to_do(word: str, message: str):
    with pytest.raises(ConfigError, match=message):
        run_config.load(RECIPE, [word])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--data.store=s", r"use --data\.sources\.0\.data\.store or --data\.sources\.1\.data\.store$"),
        ("--data.objective.noise-density=1", r"use --data\.sources\.0\.data\.objective\.noise-density$"),
        (
            "--data.pack=True",
            r"is of PairsDataConfig, .* is MixtureDataConfig; use --data\.sources\.1\.data\.pack$",
        ),
        (
            "--data.sources.2.weight=1",
            r"has the places 0, 1; use one of them, as in --data\.sources\.0\.weight$",
        ),
        ("--data.sources.text.weight=1", r"has the places 0, 1; .*, as in --data\.sources\.0\.weight$"),
        (
            "--data.sources.1.data.objective=1",
            r"is of Pretraining.*'s data\.sources\.1\.data is PairsDataConfig",
        ),
    ],
)
def test_an_option_of_a_mixture_s_source_is_said_with_its_place(word: str, message: str):
    with pytest.raises(ConfigError, match=message):
        run_config.load(RECIPE.with_name("tiny_mixture_recipe.py"), [word])


@pytest.mark.parametrize("words", [["=yes"], ["=1"], ["="], ["", "maybe"], ["", "-1"]])
def test_a_switch_of_a_recipe_says_what_it_takes(words):
    option = "--model.positions.per-layer"
    with pytest.raises(
        ConfigError, match=rf"^{option} '.*' must be True or False; {option} alone says True$"
    ):
        run_config.load(RECIPE, [option + words[0], *words[1:], "--seed", "3"])


@pytest.mark.parametrize("old", RENAMED)
def test_an_option_of_before_names_those_of_now_which_are_taken(old: str, tmp_path: Path):
    of_part = {"rotary-base": "Rotary", "position-offset": "Learned"}
    has, recipe = "no-" in old, tmp_path / "recipe.py"
    recipe.write_text(
        "import dataclasses, runpy\n"
        "from t5lite.models.config import *\n"
        "def config():\n"
        f"    base = runpy.run_path({str(RECIPE)!r})['config']()\n"
        f"    parts = {{'positions': {of_part.get(old.rpartition('.')[2], 'Relative')}Positions(),\n"
        "             'initializer': NormalInitializer(),\n"
        f"             'attention': AttentionConfig(scaled={has}, biases='all' if {has} else 'none'),\n"
        f"             'mlp': GatedMLP(bias={has})}}\n"
        "    return dataclasses.replace(base, model=dataclasses.replace(base.model, **parts))\n"
    )
    with pytest.raises(ConfigError, match=rf"^there is no {old}; use ") as refused:
        run_config.load(recipe, [old, "40"])
    words = str(refused.value).partition("; use ")[2].replace(" and ", " ").split()
    numbers = ("buckets", "distance", "offset", "base", "epsilon", "std")
    value = ["40"] if old.endswith(numbers) else ["relu"] if old.endswith("activation") else []
    assert run_config.load(recipe, [*words, *value]).model != run_config.load(recipe).model


def test_a_part_of_the_model_is_overridden_by_its_path():
    words = ["--model.positions.num-buckets", "16", "--model.norm.epsilon", "1e-5", "--execution.remat=dots"]
    words += ["--model.attention.windows", "4", "None", "--model.positions.per-layer"]
    config = run_config.load(RECIPE, words)
    assert config.model == dataclasses.replace(
        run_config.load(RECIPE).model,
        positions=RelativePositions(num_buckets=16, per_layer=True),
        norm=RMSNorm(epsilon=1e-5),
        attention=AttentionConfig(windows=(4, None)),
    )
    assert config.execution == Execution(remat="dots")
