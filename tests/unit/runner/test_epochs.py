"""How many steps epochs are."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.data.left_out import LeftOut
from t5lite.data.position import DataPosition
from t5lite.runner.epochs import epochs_message, with_steps_of_epochs

CONFIG = run_config.load(Path(__file__).parents[2] / "e2e" / "tiny_recipe.py")


NOTHING_LEFT_OUT = LeftOut()


def pipeline(num_examples, *, max_epochs=None, history=None, left_out=NOTHING_LEFT_OUT):
    end = None if max_epochs is None else max_epochs * num_examples - left_out.num_examples
    return SimpleNamespace(
        num_examples=num_examples,
        history=history,
        left_out=left_out,
        num_steps=lambda batch_size, start=0: None if end is None else max(end - start, 0) // batch_size,
    )


def resolved(epochs, data, *, batch_size=8, step=0, seen=0):
    training = dataclasses.replace(CONFIG.training, epochs=epochs, batch_size=batch_size)
    plan = SimpleNamespace(step=step, position=DataPosition(seen))
    return with_steps_of_epochs(dataclasses.replace(CONFIG, training=training), data, plan)


@given(st.integers(1, 2000), st.integers(1, 8), st.integers(1, 64), st.integers(1, 64), st.floats(0, 1))
def test_a_run_ends_with_the_last_epoch_whatever_its_batch_size_was_meanwhile(
    num_examples, epochs, first, second, share
):
    data = pipeline(num_examples)
    begun = resolved(epochs, data, batch_size=first).training.total_steps
    step = int(share * begun)
    total = resolved(epochs, data, batch_size=second, step=step, seen=step * first).training.total_steps
    end = step * first + (total - step) * second
    assert epochs * num_examples <= end < epochs * num_examples + max(first, second)
    assert first != second or total == begun


@given(
    st.integers(1, 500),
    st.integers(1, 4),
    st.integers(1, 16),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), max_size=3),
    st.booleans(),
)
def test_what_is_left_out_is_no_part_of_an_epoch_at_a_rollback_and_at_any_later_start(
    num_examples, epochs, batch_size, gaps, ends
):
    end = epochs * num_examples
    left_out = LeftOut.of([(int(at * (end - 1)), min(int(at * (end - 1)) + size, end)) for at, size in gaps])
    left = end - left_out.num_examples
    assume(left >= batch_size)
    data = pipeline(num_examples, left_out=left_out, max_epochs=epochs if ends else None)
    total = left // batch_size if ends else -(-left // batch_size)
    for step in range(0, total + 1, max(total // 5, 1)):
        config = resolved(epochs, data, batch_size=batch_size, step=step, seen=step * batch_size)
        assert config.training.total_steps == total
    message = epochs_message(config, data)
    assert (f", {left_out.num_examples} of them left out" in message) == bool(left_out.ranges)


@given(st.integers(8, 500), st.integers(1, 5))
def test_data_that_ends_after_as_many_epochs_lasts(num_examples, epochs):
    data = pipeline(num_examples, max_epochs=epochs)
    assert resolved(epochs, data).training.total_steps == data.num_steps(8)


@given(st.integers(1, 999), st.integers(1, 100))
def test_epochs_are_the_number_that_is_written(tenths, tens):
    """Products of floats are above or below it: 1.1 times 100 is more than 110."""
    total = tenths * tens  # of examples, each a batch
    assert resolved(tenths / 10, pipeline(10 * tens), batch_size=1).training.total_steps == total


def test_it_is_said_and_goes_by_steps_otherwise():
    data = pipeline(100)
    config = resolved(2.5, data)
    assert epochs_message(config, data) == (
        "training.epochs=2.5 of 100 examples: training.total_steps=32 of 8"
    )
    assert with_steps_of_epochs(CONFIG, data, SimpleNamespace()) is CONFIG
    assert epochs_message(CONFIG, data) is None
    assert resolved(1, data, step=25, seen=200).training.total_steps == 25  # they were made before


@pytest.mark.parametrize(
    ("epochs", "data", "seen", "message"),
    [
        (2, pipeline(100, history=()), 0, r"epochs=2: a mixture has no epoch.*give training\.total_steps"),
        (1, pipeline(3, max_epochs=1), 0, r"less than one batch of 8; use more epochs, or lower"),
    ],
)  # fmt: skip
def test_what_cannot_be(epochs, data, seen, message):
    with pytest.raises(ConfigError, match=message):
        resolved(epochs, data, seen=seen, step=seen // 8)


@pytest.mark.parametrize("epochs", [0.0, -1.0, float("nan")])
def test_epochs_are_above_0(epochs):
    with pytest.raises(ConfigError, match=r"epochs=.* must be (above 0|a finite number)"):
        resolved(epochs, pipeline(10))
