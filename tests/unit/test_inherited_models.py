"""A recipe that fine-tunes inherits the model of the run that it begins from."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.models.config import ModelConfig
from t5lite.models.config.transfer import Transfer
from t5lite.models.laptop import LAPTOP_BERT, LAPTOP_T5
from t5lite.runner.inheritance import described, read_source
from tests.source_models import ROOT, model_of_recipe

MINILM = dataclasses.replace(LAPTOP_BERT, embed_dim=384, num_heads=6, num_layers=6, head="hidden")
CLASSIFIER = dataclasses.replace(MINILM, head="sequence_classification", num_labels=3)
RECIPE = """from t5lite.recipe import *
def config():
    return FineTuningConfig(run_dir="runs/tuned", model={model}, data={data}, optimizer=AdamWConfig(),
        schedule=Constant(), training=TrainingConfig(total_steps=1, batch_size=1), initialize_from={source})
"""


def load(tmp_path: Path, words: tuple[str, ...] = (), *, found: ModelConfig = MINILM, **said: Any):
    """Load a recipe that inherits from runs/a, where ``found`` is."""
    shape = said.pop("shape", None)
    data = "PairsDataConfig(store='s', inputs_length=64)"
    fields = {"model": "None", "data": data, "source": "InitializeFrom(run='runs/a')", **said}
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE.format(**fields))
    asked: list[tuple[str, str]] = []

    def read(source: str, run_dir: str) -> ModelConfig:
        asked.append((source, run_dir))
        return found

    return run_config.load(path, words, model=shape, read_source=read), asked


@pytest.mark.parametrize(
    ("model", "found", "words", "expected"),
    [
        ("None", LAPTOP_T5, (), LAPTOP_T5),
        ("Inherited()", CLASSIFIER, (), CLASSIFIER),
        ("Inherited(head='sequence_classification', num_labels=3)", MINILM, (), CLASSIFIER),
        ("Inherited(num_labels=3)", dataclasses.replace(CLASSIFIER, num_labels=9), (), CLASSIFIER),
        ("Inherited(dropout_rate=0.3)", LAPTOP_T5, (), dataclasses.replace(LAPTOP_T5, dropout_rate=0.3)),
        (
            "Inherited(head='sequence_classification', dropout_rate=0.3)",
            MINILM,
            ("--model.dropout-rate", "0.2", "--model.num-labels=3"),
            dataclasses.replace(CLASSIFIER, dropout_rate=0.2),
        ),
    ],
)
def test_the_model_is_the_sources_but_for_what_is_said(model, found, words, expected, tmp_path):
    config, asked = load(tmp_path, words, found=found, model=model)
    assert (config.model, asked) == (expected, [("runs/a", "runs/tuned")])
    run_config.save(config, tmp_path / "config.json")
    assert run_config.load(tmp_path / "config.json") == config  # which needs no source


def test_the_words_say_which_run_it_is(tmp_path):
    words = ("--initialize_from.run=runs/b", "--run-dir", "x", "--initialize-from.run", "runs/c")
    for source in ("None", "InitializeFrom(run='runs/a')"):
        config, asked = load(tmp_path, words, found=CLASSIFIER, source=source)
        assert asked == [("runs/c", "x")]
        assert config.initialize_from == run_config.InitializeFrom(run="runs/c")


@pytest.mark.parametrize("words", [("--initialize-from.run", ""), ("--initialize-from.run=",)])
def test_a_run_that_the_words_leave_empty_is_not_that_of_the_recipe(words, tmp_path):
    """As of an unset variable of a shell: it is told as such, and not by what the recipe's run lacks."""
    load(tmp_path, found=CLASSIFIER)
    with pytest.raises(ConfigError, match="a path is empty: is a shell variable not set"):
        run_config.load(tmp_path / "recipe.py", words, read_source=read_source)


def test_the_remedy_of_a_source_that_does_not_suit_the_recipe_is_an_override(tmp_path):
    """A recipe cannot know its source: it is checked once the overrides are in it."""
    words = ("--data.inputs-length", "512")
    with pytest.raises(ConfigError, match=r"512 tokens is longer than the 128 rows .*; use at most 128"):
        load(tmp_path, words, found=CLASSIFIER)
    long = "PairsDataConfig(store='s', inputs_length=512)"
    config, _ = load(tmp_path, ("--data.inputs-length", "128"), found=CLASSIFIER, data=long)
    assert config.model == CLASSIFIER
    config, _ = load(tmp_path, ("--model.head", "sequence_classification", "--model.num-labels", "3"))
    assert config.model == CLASSIFIER


def test_from_scratch_it_has_the_shape_of_another(tmp_path):
    words = ("--initialize-from", "None")
    config, asked = load(tmp_path, words, shape=CLASSIFIER, model="Inherited(num_labels=5)")
    assert config.model == dataclasses.replace(CLASSIFIER, num_labels=5)
    assert config.initialize_from is None
    assert not asked
    same, _ = load(tmp_path, found=CLASSIFIER, shape=CLASSIFIER)
    assert same.model == CLASSIFIER


@pytest.mark.parametrize(
    ("words", "said", "message"),
    [
        ((), {"source": "None"}, r"no run says which: give one by --initialize-from\.run RUN, or train from"),
        (("--initialize-from", "None"), {}, "no run says which: .*--initialize-from None --model NAME"),
        (
            (),
            {"model": "Inherited(head='masked_lm')", "found": LAPTOP_T5},
            "the model of runs/a: head='masked_lm' is of an encoder",
        ),
        (
            (),
            {"model": "Inherited(num_labels=2)", "found": LAPTOP_T5},
            "one is encoder_decoder; leave it",
        ),
        (
            (),
            {"model": "Inherited(num_labels=2)"},
            "hidden' has none to choose; .*'token_class",
        ),
        ((), {"model": "Inherited(head='span_extraction', num_labels=3)"}, "num_labels=3 counts classes"),
        ((), {"model": "Inherited(head='sequence_classification', num_labels=0)"}, "num_labels=0 must be"),
        ((), {"model": "Inherited(head='classification')"}, "head='classification'"),
        ((), {"model": "Inherited(dropout_rate=1.0)"}, r"dropout_rate=1\.0 must be"),
        ((), {"shape": "bert-base"}, "--model is another; leave .*in its shape by --initialize-from None"),
        (
            ("--initialize-from", "runs/b"),
            {},
            "takes None, .*; say where from by --initialize-",
        ),
    ],
)
def test_what_cannot_be_inherited_is_refused(words, said, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, words, **said)


def test_a_recipe_that_only_its_run_config_can_hold_is_told_so(tmp_path):
    (tmp_path / "recipe.py").write_text(
        RECIPE.replace("FineTuningConfig", "RunConfig").format(
            model="None", data="PairsDataConfig(store='s')", source="None"
        )
    )
    with pytest.raises(ConfigError, match="line 3: a RunConfig says its model; FineTuningConfig takes that"):
        run_config.load(tmp_path / "recipe.py")


@pytest.mark.parametrize("name", ["finetune_pairs", "lm_adaptation", "finetune_bert_classification"])
def test_a_shipped_recipe_that_fine_tunes_inherits(name):
    path = ROOT / "configs" / f"{name}.py"
    with pytest.raises(ConfigError, match="the recipe inherits the model of runs/"):
        run_config.load(path)
    config = run_config.load(path, read_source=model_of_recipe)
    source = config.initialize_from.run
    changed = {
        "finetune_pairs": {"dropout_rate": 0.0},
        "lm_adaptation": {},
        "finetune_bert_classification": {
            "head": "sequence_classification",
            "num_labels": 6,
            "dropout_rate": 0.1,
        },
    }
    assert config.model == dataclasses.replace(model_of_recipe(source, ""), **changed[name])


def test_a_model_that_is_trained_by_the_rates_of_a_smaller_one_says_so_where_it_is_inherited():
    grown = dataclasses.replace(MINILM, transfer=Transfer(embed_dim=128))
    assert "so give this recipe the learning rate of a model of width 128, which" in described(grown)
    for same in (MINILM, dataclasses.replace(MINILM, transfer=Transfer(embed_dim=384))):
        assert "learning rate" not in described(same)
