"""Evaluations of a run by name: what is refused, what the command line names, and what older files said."""

import dataclasses
import json
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.core.errors import ConfigError
from t5lite.evaluation.best_metric import check_best_metric
from t5lite.models.config import HEADS
from t5lite.run_config import EvaluationConfig, RunConfig
from tests.families import FAMILIES

ROOT = Path(__file__).parents[2]
HELDOUT = EvaluationConfig(store="data/heldout")
CONFIG = run_config.load(ROOT / "tests" / "e2e" / "tiny_recipe.py")


def saved(tmp_path: Path, config: RunConfig) -> Path:
    run_config.save(config, tmp_path / "recipe.json")
    return tmp_path / "recipe.json"


def test_a_file_from_before_evaluations_had_names_is_read():
    path = ROOT / "tests" / "golden" / "config_version_2.json"
    config = run_config.load(path)
    heldout = EvaluationConfig(store="data/heldout", batch_size=8, max_examples=32)
    assert (config.evaluations, config.training.total_steps) == ({"heldout": heldout}, 40)
    without = {**json.loads(path.read_text()), "evaluation": {"store": None, "max_examples": 7}}
    assert run_config.from_values(without) == dataclasses.replace(config, evaluations={})


@pytest.mark.parametrize(
    ("evaluations", "checkpoints", "message"),
    [
        ({"Held out": HELDOUT}, {}, r"called 'Held out'; a name has lower-case letters, digits and '-'"),
        ({"a/b": HELDOUT}, {}, "called 'a/b'"),
        ({"a.b": HELDOUT}, {}, "called 'a.b'"),
        ({"a" * 41: HELDOUT}, {}, "at most 40 characters"),
        ({"one": HELDOUT, "two": {"batch_size": 0}}, {}, r"evaluations\.two\.batch_size=0 must be positive"),
        ({"one": {"every_steps": 0}}, {}, r"evaluations\.one\.every_steps=0 must be positive, or None"),
        ({"one": {"source": "x"}}, {}, r"evaluations\.one\.source='x' names a source, but data is no mix"),
        ({}, {"keep_best": 1}, r"keeps the best on held-out data, and there is none: give evaluations\."),
        (
            {"books": HELDOUT, "web": HELDOUT},
            {"best_metric": "bocks/loss"},
            r"best_metric='bocks/loss' names the evaluation 'bocks', which is none; did you mean 'books'\?",
        ),
    ],
    ids=str,
)
def test_evaluations_that_cannot_be(evaluations, checkpoints, message):
    evaluations = {
        name: each if isinstance(each, EvaluationConfig) else dataclasses.replace(HELDOUT, **each)
        for name, each in evaluations.items()
    }
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, evaluations=evaluations, checkpoints=CheckpointConfig(**checkpoints))


def test_a_metric_of_generated_text_is_measured_in_a_training_that_generates():
    checkpoints = CheckpointConfig(keep_best=1, best_metric="chrf")
    told = dataclasses.replace(HELDOUT, task="translation")

    def check(evaluation: EvaluationConfig) -> None:
        check_best_metric(
            *(checkpoints, CONFIG.training, {"heldout": evaluation}, CONFIG.model),
            task_metrics={"translation": ("bleu", "chrf")}.__getitem__,
        )

    check(dataclasses.replace(told, task_in_training=True))
    with pytest.raises(ConfigError, match=r"with evaluations\.heldout\.task_in_training=True$"):
        check(told)
    with pytest.raises(ConfigError, match=r"best_metric='chrf' is not what evaluations\.heldout measures"):
        check(HELDOUT)
    assert checkpoints.highest_is_best
    assert not CheckpointConfig().highest_is_best


@pytest.mark.parametrize("head", [head for head, kind in HEADS.items() if kind.metrics])
def test_whatever_is_measured_of_the_predictions_of_a_head_may_say_what_is_best(head):
    model = dataclasses.replace(FAMILIES["bert"], head=head)
    for metric in HEADS[head].metrics:
        checkpoints = CheckpointConfig(keep_best=1, best_metric=metric)
        check_best_metric(checkpoints, CONFIG.training, {"heldout": HELDOUT}, model, task_metrics=dict)
        assert checkpoints.highest_is_best


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("loss", ("books", "loss")),
        ("web/token_accuracy", ("web", "token_accuracy")),
        ("books/loss", ("books", "loss")),
    ],
)
def test_the_first_evaluation_says_what_is_best_unless_another_is_named(metric, best):
    config = dataclasses.replace(
        CONFIG,
        evaluations={"books": HELDOUT, "web": HELDOUT},
        checkpoints=CheckpointConfig(keep_best=1, best_metric=metric),
    )
    assert (config.best_evaluation, config.checkpoints.best_value) == best


@pytest.mark.parametrize(
    ("evaluations", "words", "message"),
    [
        (
            {"heldout": HELDOUT},
            ["--evaluations.heldot.store", "x"],
            "names the evaluation 'heldot', which is ",
        ),
        (
            {},
            ["--evaluations.web.max-examples", "3"],
            r"no evaluations; give one a store by --evaluations\.web",
        ),
        (
            {"heldout": HELDOUT},
            ["--evaluations", "web"],
            "takes None, to measure nothing; name one by --evaluations",
        ),
        ({"heldout": HELDOUT}, ["--evaluations=None", "--evaluations.heldout.store", "x"], "contradict"),
        (
            {"heldout": HELDOUT},
            ["--evaluation.store", "x"],
            r"there is no --evaluation\.store; use --evaluations\.NAME\.store",
        ),
    ],
    ids=str,
)
def test_overrides_name_evaluations_that_there_are(evaluations, words, message, tmp_path):
    config = dataclasses.replace(CONFIG, evaluations=evaluations)
    with pytest.raises(ConfigError, match=message):
        run_config.load(saved(tmp_path, config), words)


def test_overrides_give_a_recipe_without_evaluations_some(tmp_path):
    config = dataclasses.replace(CONFIG, evaluations={})
    words = ["--evaluations.my-web.store=w", "--evaluations.my_web.every_steps", "5"]
    words += ["--evaluations.books.store", "b"]
    expected = {
        "my-web": EvaluationConfig(store="w", every_steps=5),
        "books": EvaluationConfig(store="b"),
    }
    assert run_config.load(saved(tmp_path, config), words).evaluations == expected
