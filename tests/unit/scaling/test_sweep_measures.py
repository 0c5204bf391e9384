"""Of all that was ever measured of a run, a sweep takes what its configuration says, at the last step."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from t5lite import run_config
from t5lite.core.storage.addresses import place
from t5lite.evaluation.config import EvaluationConfig
from t5lite.run_origins import ContinueFrom
from t5lite.runner.measurements import Measured
from t5lite.scaling import sweep_measures, sweep_table
from t5lite.scaling.sweep_epochs import Epochs
from t5lite.scaling.sweep_measures import is_measured, measured_values
from t5lite.scaling.sweeps import SweepRun

RECORD = Measured(
    step=10, store="/data/heldout", num_examples=5, max_examples=1024, metrics={"loss": 1.0, "accuracy": 0.5}
)
TRAINED = replace(RECORD, num_examples=None, metrics={"loss": 2.0, "perplexity": 8.0})
OTHERS = (
    replace(RECORD, step=5),
    replace(RECORD, store="/data/train"),
    replace(RECORD, average=3),
    replace(RECORD, max_examples=7),
    replace(RECORD, store=None),
    replace(RECORD, task="translation"),
)


def run_with(monkeypatch, **records) -> Any:
    evaluations = {"heldout": EvaluationConfig(store="/data/heldout")}
    monkeypatch.setattr(sweep_measures, "measurements", lambda found: records)
    return SimpleNamespace(config=SimpleNamespace(evaluations=evaluations))


def test_what_others_measured_besides_is_not_the_runs_result(monkeypatch):
    found = run_with(monkeypatch, heldout=(*OTHERS, TRAINED), probe=(RECORD,))
    assert not is_measured(found, 10)
    assert measured_values(found, 10) == {"heldout/loss": 2.0, "heldout/perplexity": 8.0}


def test_the_record_of_the_configured_evaluation_counts(monkeypatch):
    found = run_with(monkeypatch, heldout=(*OTHERS, RECORD, TRAINED))
    assert is_measured(found, 10)
    assert measured_values(found, 10) == {
        "heldout/loss": 1.0,
        "heldout/perplexity": 8.0,
        "heldout/accuracy": 0.5,
    }
    assert not is_measured(found, 20)


@pytest.fixture
def row_of(monkeypatch):
    """The run, of 600 steps, and its row where it has come to 150 or another step."""
    run = SweepRun(id="x", family="f", config=run_config.load(place("configs/pretrain_gpt.py")))

    def row(step=150, *, began_at=(), **started):
        cost = SimpleNamespace(total_seconds=1.0, share=0.5)
        attempts = [SimpleNamespace(first_step=each) for each in began_at]
        status = SimpleNamespace(step=step, cost=cost, attempts=attempts)
        monkeypatch.setattr(sweep_table, "run_status", lambda path: status)
        found: Any = SimpleNamespace(metrics=[], config=replace(run.config, **started))
        return sweep_table._row(place("sweep"), run, found, Epochs())

    values = {"heldout/loss": 2.5, "heldout/bits_per_masked_byte": 1.5}
    monkeypatch.setattr(sweep_table, "measured_values", lambda found, step: values if step == 150 else {})
    monkeypatch.setattr(sweep_table, "_noted", lambda folder, run: {"unique_tokens": 7})
    return run, row


def test_a_row_says_what_a_run_went_on_from_not_what_it_would_today(row_of):
    run, row = row_of
    origin = ContinueFrom(run="/old/sweep/runs/short", step=80)
    shown = [
        row(began_at=(80, 120), continue_from=origin),
        row(began_at=(80, 0)),  # its trunk was gone before it had saved
        row(0, began_at=(0,)),  # at once ended by early stopping
    ]
    told = [(each["own_steps"], each["trunk"], each["own_flops"]) for each in shown]
    flops = run.count.flops / 600
    assert told == [
        (70, "short", pytest.approx(70 * flops)),
        (150, None, pytest.approx(150 * flops)),
        (0, None, 0),
    ]


def test_a_run_that_ended_early_is_of_the_steps_that_it_made(row_of):
    """Of 600."""
    run, row_at = row_of
    row = row_at()
    assert (row["steps"], row["tokens"], row["loss"], row["bits"]) == (150, run.count.tokens / 4, 2.5, 1.5)
    assert (row["flops"], row["unique_tokens"]) == (pytest.approx(run.count.flops / 4), 7)
    assert row["flops_6nd"] == pytest.approx(row["flops"], rel=0.5)
