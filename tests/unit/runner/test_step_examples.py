"""The batch of a step, from the changes of batch size that a run's history tells."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.left_out import LeftOut
from t5lite.run_config import InitializeFrom
from t5lite.runner import step_examples
from t5lite.runner.config_history import ConfigHistory
from t5lite.runner.step_examples import StepBatches, open_seen

RECIPE = run_config.load(place("configs/pretrain_gpt.py"))


@given(stretches=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=5))
def test_batches_follow_one_another_whatever_sizes_they_had(stretches):
    """A stretch is so many steps with batches of such a size."""
    changes, step, seen, expected = [], 0, 0, []
    for steps, size in stretches:
        changes.append((step, seen))
        for _ in range(steps):
            expected.append((seen, size))
            seen, step = seen + size, step + 1
    batches = StepBatches(changes=tuple(changes[1:]), batch_size=stretches[-1][1], total_steps=step)
    assert [tuple(batches.batch(number + 1)) for number in range(step)] == expected
    for wrong in (0, step + 1):
        with pytest.raises(ConfigError, match="none of the run's"):
            batches.batch(wrong)


def test_a_recipe_of_epochs_has_the_steps_that_they_are():
    """Of 1,000 examples in batches of 32, whatever its total_steps say."""
    data: Any = SimpleNamespace(
        history=None, num_examples=1000, left_out=LeftOut(), num_steps=lambda size, start: None
    )
    recipe = replace(RECIPE, training=replace(RECIPE.training, epochs=30))
    batches = StepBatches.of(recipe, ConfigHistory(), lambda: data)
    assert batches.total_steps == 938 > recipe.training.total_steps
    assert batches.batch(938).start == 937 * 32


def test_a_recipe_that_begins_with_a_classifier_has_its_classes(monkeypatch):
    own, known = (LabelClasses(texts=each, tokens=((1,), (2,))) for each in (("no", "yes"), ("yes", "no")))
    monkeypatch.setattr(
        step_examples, "open_pipeline", lambda data, classes, **rest: SimpleNamespace(classes=classes or own)
    )
    source = SimpleNamespace(classes_for=lambda model, found: known if found is own else None)
    monkeypatch.setattr(step_examples, "find_source", lambda asked, gives_parameters: source)
    assert open_seen(RECIPE, None).classes is own
    assert open_seen(replace(RECIPE, initialize_from=InitializeFrom(run="runs/base")), None).classes is known
