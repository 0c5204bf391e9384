"""What an earlier attempt did not measure ends no run, and is said."""

import dataclasses
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.runner.early_stopping import early_stopping, lacking_message
from t5lite.runner.heldout_messages import best_messages

CONFIG = run_config.load(Path(__file__).parents[2] / "e2e" / "tiny_recipe.py")
STOPPING = dataclasses.replace(
    CONFIG, training=dataclasses.replace(CONFIG.training, early_stopping_patience=2)
)


def entry(step: int, evaluation: str = "heldout", **metrics: float) -> dict:
    return {"kind": "eval", "step": step, "evaluation": evaluation, **metrics}


@pytest.mark.parametrize("num_lacking", [0, 1, 3])
def test_evaluations_from_before_the_metric_do_not_end_the_run(num_lacking):
    earlier = [entry(step, text_loss=2.0) for step in range(num_lacking)]
    others = [entry(step, evaluation="other", text_loss=1.0) for step in range(9)]
    stopping = early_stopping(STOPPING, [*earlier, *others, entry(7, loss=2.0), entry(8, loss=2.5)])
    assert stopping is not None
    assert not stopping.is_over
    stopping.record(9, {"loss": 2.5})
    assert stopping.is_over
    said = lacking_message(STOPPING, stopping)
    assert said == (
        f"note: {num_lacking} earlier evaluation(s) of heldout did not measure loss, and do not count for "
        "training.early_stopping_patience=2"
        if num_lacking
        else None
    )


def test_a_run_that_goes_to_its_end_has_none():
    assert early_stopping(CONFIG, [entry(0, loss=1.0)] * 9) is None
    assert lacking_message(CONFIG, None) is None


@pytest.mark.parametrize("field", ["store", "max_examples", "average", "batch_size"])
def test_a_best_of_figures_of_other_data_is_said(field):
    changed = [f"evaluations.heldout.{field}", "evaluations.other.store"]
    said = [message for message in best_messages(STOPPING, changed) if "before and after" in message]
    assert bool(said) == (field != "batch_size")
    assert all(message.startswith(f"note: {changed[0]} changed, ") for message in said)
    assert not best_messages(CONFIG, changed)
