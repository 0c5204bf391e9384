"""Ladders: shapes by rule, budgets that are kept, batch and rate by a rule, schedules in proportion."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place
from t5lite.models.config import Transfer
from t5lite.models.parameter_count import count_embeddings, count_parameters
from t5lite.models.presets import preset
from t5lite.optim.schedules import SCHEDULES
from t5lite.scaling import shapes
from t5lite.scaling.budgets import Flops, Hours, Tokens, TokensPerParameter
from t5lite.scaling.counting import CONVENTIONS, count_run
from t5lite.scaling.hyperparameters import Marin, Porian, PowerOfWidth, Transferred
from t5lite.scaling.ladders import branches, ladder

RECIPES = ("configs/pretrain_small.py", "configs/pretrain_bert.py", "configs/pretrain_gpt.py")


@pytest.fixture(scope="module")
def recipes():
    return [run_config.load(place(path)) for path in RECIPES]


def test_a_ladder_keeps_its_budgets_in_every_family(recipes):
    for recipe in recipes:
        models = shapes.constant_aspect(recipe.model, (64, 128, 192), aspect=64, head_dim=32)
        for name in CONVENTIONS:
            runs = ladder(recipe, models=models, budgets=[Flops(flops=1e14, convention=name)])
            assert [run.model for run in runs] == models
            for run in runs:
                count = count_run(run, name)
                assert abs(count.flops - 1e14) <= count.flops / run.training.total_steps
        tokens = ladder(recipe, models=models, budgets=[Tokens(tokens=1e7)])
        assert all(count_run(run).tokens == pytest.approx(1e7, rel=0.01) for run in tokens)


def test_tokens_in_proportion_to_the_model_leave_embeddings_out(recipes):
    recipe = recipes[2]
    (run,) = ladder(recipe, models=[recipe.model], budgets=[TokensPerParameter(ratio=20)])
    size = count_parameters(recipe.model) - count_embeddings(recipe.model)
    assert count_run(run).tokens == pytest.approx(20 * size, rel=0.01)


@pytest.mark.parametrize("rules", [(), ("parameters.embed", "None")])
def test_hours_of_a_slice_are_steps_at_the_pace_of_its_plan(rules, capsys):
    """Also of a recipe with rules of its own, which are kept: here no kernel is sharded by its width."""
    words = ["--partitioning.extra-rules", *rules] if rules else []
    assert main(["plan", "--config", RECIPES[2], "--chips", "v5e-4", "--no-compile", "--json", *words]) == 0
    pace = json.loads(capsys.readouterr().out)["chosen"]["step_seconds"]
    recipe = run_config.load(place(RECIPES[2]), words)
    steps, on_v6e = (Hours(hours=2, chips=chips).steps(recipe) for chips in ("v5e-4", "v6e-4"))
    assert steps == 7200 / pace < on_v6e


def test_shapes_are_those_of_their_sources():
    gpt, t5 = preset("gpt2"), preset("t5-efficient-base")
    olmo = shapes.olmo(gpt, ["190M"])[0]
    assert (olmo.embed_dim, olmo.num_heads, olmo.head_dim, olmo.mlp_dim) == (768, 12, 64, 3072)
    # Marin's isoFLOP sweep: 512 wide has 6 layers, 2048 wide 21.
    deep = shapes.marin(gpt, (512, 2048))
    assert [list(each.layer_counts.values()) for each in deep] == [[6], [21]]
    small = shapes.named(replace(t5, vocab_size=1024), ["t5-efficient-tiny-nl8"])[0]
    assert small == replace(preset("t5-efficient-tiny-nl8"), vocab_size=1024)
    wide = shapes.constant_aspect(t5, (256,), aspect=32)[0]
    assert wide.layer_counts == {"num_encoder_layers": 8, "num_decoder_layers": 8}


def test_grouped_heads_keep_their_share():
    llama = preset("llama3-8b")
    assert shapes.resized(llama, embed_dim=512, num_layers=2, num_heads=8).kv_heads == 2


def test_rules_are_those_of_their_sources(recipes):
    recipe = recipes[2]
    (model,) = shapes.constant_aspect(recipe.model, (256,), aspect=64, head_dim=64)
    budget = [Tokens(tokens=1e8)]
    size = (count_parameters(model) - count_embeddings(model)) / 108e6
    (run,) = ladder(recipe, models=[model], budgets=budget, rule=Porian())
    assert run.schedule.highest == pytest.approx(0.0047 * size ** (-1 / 3))
    per_row = count_run(run).tokens / (run.training.total_steps * run.training.batch_size)
    assert abs(run.training.batch_size * per_row - 160 * 2048 * size ** (2 / 3)) <= 4 * per_row
    (run,) = ladder(recipe, models=[model], budgets=budget, rule=Marin(num_steps=4096))
    assert run.training.batch_size & (run.training.batch_size - 1) == 0
    assert run.schedule.highest == pytest.approx(0.33 * run.training.batch_size**0.5 / 256)
    assert run.schedule.highest <= 0.01
    (run,) = ladder(recipe, models=[model], budgets=budget, rule=PowerOfWidth())
    assert run.schedule.highest == pytest.approx(recipe.schedule.highest * recipe.model.embed_dim / 256)


def test_a_rule_of_ones_own_is_a_function(recipes):
    recipe = recipes[2]
    (run,) = ladder(
        recipe,
        models=[recipe.model],
        budgets=[Tokens(tokens=1e6)],
        rule=lambda run, recipe, tokens: replace(run, seed=7),
    )
    assert run.seed == 7


def test_what_makes_no_ladder_is_refused(recipes):
    recipe = recipes[0]
    with pytest.raises(ConfigError, match="raise the budget"):
        ladder(recipe, models=[recipe.model], budgets=[Tokens(tokens=100)])
    by_epochs = replace(recipe, training=replace(recipe.training, epochs=2.0))
    with pytest.raises(ConfigError, match="epochs"):
        ladder(by_epochs, models=[recipe.model], budgets=[Tokens(tokens=1e6)])
    with pytest.raises(ConfigError, match="multiple of head_dim"):
        shapes.constant_aspect(recipe.model, (100,))
    with pytest.raises(ConfigError, match="differ in size"):
        shapes.constant_aspect(preset("t5gemma-9b-2b"), (256,))
    with pytest.raises(ConfigError, match="encoder_decoder"):
        shapes.named(preset("gpt2"), ["t5-small"])
    with pytest.raises(ConfigError, match="did you mean"):
        Flops(flops=1e15, convention="chinchila")


@pytest.mark.parametrize("make", [ladder, branches])
@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ([1e12], r"budgets holds 1000000000000.0, .*give s\.Flops\(flops=1e\+12\)"),
        (["1e6", Tokens(tokens=1e6)], r"budgets holds '1e6', .*give s\.Flops"),
        (1e12, r"budgets=1000000000000\.0 is one; give a list"),
        (Tokens(tokens=1e6), r"budgets=Tokens\(tokens=1000000\.0\) is one; give a list"),
    ],
)
def test_budgets_that_are_none_are_told_what_they_should_be(recipes, make, budgets, said):
    with pytest.raises(ConfigError, match=said):
        make(recipes[2], models=[recipes[2].model], budgets=budgets)


def test_slips_of_numbers_and_rules_are_named(recipes):
    def forgets(run, recipe, tokens):
        replace(run, seed=7)

    text: Any = "1e6"
    with pytest.raises(ConfigError, match=r"tokens='1e6' must be a number, such as 1e12"):
        Tokens(tokens=text)
    rule: Any = forgets
    with pytest.raises(ConfigError, match="the rule forgets returned NoneType; it must return the run"):
        ladder(recipes[2], models=[recipes[2].model], budgets=[Tokens(tokens=1e6)], rule=rule)


CURVES = {
    "Constant": {"value": 0.5, "warmup_steps": 40},
    "InverseSqrt": {"base": 2.0, "warmup_steps": 40},
    "WarmupCosine": {"peak": 0.5, "warmup_steps": 40},
    "WarmupStableDecay": {"peak": 0.5, "warmup_steps": 40, "decay_steps": 60},
}


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(total=st.integers(2, 5000), rate=st.floats(0.1, 10))
def test_a_scaled_schedule_fits_a_run_of_any_length_and_has_the_rate(name, total, rate):
    schedule = SCHEDULES[name](**CURVES[name])
    scaled = schedule.scaled(rate=rate, steps=total / 100)
    assert scaled.highest == pytest.approx(rate * schedule.highest)
    parts = np.linspace(0, 1, 11)
    curve, base = scaled.build(total)(parts * total), schedule.build(100)(parts * 100)
    assert float(np.max(curve)) <= scaled.highest * 1.00001
    if total >= 1000:  # of shorter runs, rounding a step moves the warm-up, whose first step is not 0
        near = scaled.highest / 40
        np.testing.assert_allclose(curve, rate * np.asarray(base), rtol=0.05, atol=near)


def test_rates_are_transferred_from_the_recipes_size(recipes):
    recipe = recipes[2]
    models = shapes.constant_aspect(recipe.model, (64, 256), aspect=64, head_dim=64)
    for rule in (Transferred(), Transferred(depth=True)):
        for run in ladder(recipe, models=models, budgets=[Tokens(tokens=1e6)], rule=rule):
            layers = recipe.model.num_layers if rule.depth else None
            assert run.model.transfer == Transfer(embed_dim=recipe.model.embed_dim, num_layers=layers)
            assert run.schedule.highest == recipe.schedule.highest
    own = replace(recipe, model=replace(recipe.model, transfer=Transfer(embed_dim=32)))
    (run,) = ladder(own, models=[recipe.model], budgets=[Tokens(tokens=1e6)], rule=Transferred())
    assert run.model.transfer == Transfer(embed_dim=32)
    for wrong, said in (({"head_dim": 32}, "head_dim=64"), ({"mlp_dim": 128}, "grow together")):
        with pytest.raises(ConfigError, match=said):
            Transferred()(replace(recipe, model=replace(recipe.model, **wrong)), recipe, 1e6)
    uneven = replace(recipes[0], model=preset("byt5-small"))
    with pytest.raises(ConfigError, match=r"have \[4, 12\] layers; make them equal, or depth=False"):
        ladder(uneven, models=[uneven.model], budgets=[Tokens(tokens=1e9)], rule=Transferred(depth=True))
    with pytest.raises(ConfigError, match="norm_placement"):
        ladder(
            recipes[1],
            models=[recipes[1].model],
            budgets=[Tokens(tokens=1e6)],
            rule=Transferred(depth=True),
        )


@pytest.mark.parametrize("runs_of", [ladder, branches])
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (PowerOfWidth, r"rule=PowerOfWidth is a class; write rule=s.PowerOfWidth\(\), with parentheses"),
        (0.5, r"rule=0.5 is no rule; give one, such as s.PowerOfWidth"),
        ("Marin", "rule='Marin' is no rule"),
    ],
)
def test_what_is_no_rule_is_said_in_words(recipes, runs_of, rule, said):
    with pytest.raises(ConfigError, match=said):
        runs_of(recipes[2], models=[recipes[2].model], budgets=[Tokens(tokens=1e7)], rule=rule)
