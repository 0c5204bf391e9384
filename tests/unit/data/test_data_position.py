"""Whatever the sizes of the batches and wherever a run stops, each example comes once, in order."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.mixture_pipeline import MixturePipeline
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.pipeline import open_pipeline
from t5lite.data.position import DataPosition

ATTEMPTS = st.lists(
    st.tuples(
        st.integers(1, 9),  # batch size
        st.integers(0, 6),  # steps until the attempt ends
        st.integers(1, 3),  # hosts
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def mixture(text_store, pair_store):
    text = PretrainingDataConfig(store=str(text_store), inputs_length=32)
    pairs = PairsDataConfig(store=str(pair_store), inputs_length=24, targets_length=24, pack=True)
    return MixtureDataConfig(
        sources=(
            MixtureSource(name="text", data=text, weight=3),
            MixtureSource(name="pairs", data=pairs, weight=1),
        )
    )


def hosts_rows(batch_size, num_hosts):
    bounds = [batch_size * host // num_hosts for host in range(num_hosts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds) if a < b]


def read(attempts, open_at, start=0):
    """Return the fields of all rows that the attempts read, and where they ended."""
    position, parts = DataPosition(start), []
    for batch_size, num_steps, num_hosts in attempts:
        stream = open_at(position)
        hosts = [
            stream.batches(
                batch_size=batch_size, start=position.examples_seen, rows=rows, num_steps=num_steps
            )
            for rows in hosts_rows(batch_size, num_hosts)
        ]
        parts += [part for step in zip(*hosts, strict=True) for part in step]
        position = position.after(num_steps, batch_size=batch_size)
    names = parts[0].keys() if parts else ()
    return {name: np.concatenate([part[name] for part in parts]) for name in names}, position


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(attempts=ATTEMPTS, start=st.sampled_from([0, 2**31 - 7, 2**40]))
def test_every_example_comes_once_in_order_whatever_the_batches(mixture, attempts, start):
    stream = open_pipeline(mixture, seed=3)
    rows, end = read(attempts, lambda position: stream, start)
    assert end.examples_seen == start + sum(size * steps for size, steps, _ in attempts)
    expected = stream.rows(np.arange(start, end.examples_seen)) if end.examples_seen > start else {}
    assert rows.keys() == expected.keys()
    for name, field in expected.items():
        np.testing.assert_array_equal(rows[name], field, err_msg=name)


@settings(deadline=None, max_examples=25)
@given(attempts=ATTEMPTS, weights=st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_sources_of_a_mixture_go_on_where_they_were_whatever_the_batches(mixture, attempts, weights):
    """Each start has other shares and another batch size; of a source every example comes once.

    A weight of 0 stands for a run that trains on something else until its next start.
    """
    history, numbers = MixtureHistory.elsewhere(), {name: [] for name in ("text", "pairs")}
    position = DataPosition()
    for (batch_size, num_steps, _), weight in zip(attempts, weights, strict=False):
        after = position.after(num_steps, batch_size=batch_size)
        if not weight:
            history, position = history.left(position=position.examples_seen), after
            continue
        sources = tuple(
            dataclasses.replace(each, weight=weight if each.name == "text" else 2) for each in mixture.sources
        )
        stream = open_pipeline(
            dataclasses.replace(mixture, sources=sources), history=history, position=position.examples_seen
        )
        assert isinstance(stream, MixturePipeline)
        which, own = stream.schedule.lookup(np.arange(position.examples_seen, after.examples_seen))
        for place, name in enumerate(stream.sources):
            numbers[name] += own[which == place].tolist()
        history, position = stream.history, after
    for found in numbers.values():
        assert found == list(range(len(found)))


def test_a_position_is_what_was_saved():
    far = DataPosition(2**31 - 1).after(3, batch_size=2**20)
    assert far.examples_seen == 2**31 - 1 + 3 * 2**20
    assert DataPosition.from_json({"step": 3, **far.to_json()}) == far
    assert DataPosition.from_json({"step": 3}) is None
    for wrong in ("8", 8.0, True, None, -1):
        with pytest.raises(ValueError, match="examples"):
            DataPosition.from_json({"examples_seen": wrong})
