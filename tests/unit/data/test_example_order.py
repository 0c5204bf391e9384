import grain
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from t5lite.data.example_order import ExampleOrder, permuted


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    num_examples=st.one_of(st.integers(1, 2000), st.integers(1, 10**13)),
    seed=st.integers(0, 2**32 - 1),
    places=st.lists(st.integers(0, 10**13), min_size=1, max_size=20),
)
def test_order_is_grains(num_examples, seed, places):
    assume(num_examples not in {4**k + 1 for k in range(8, 25)})  # as the next test says
    expected = grain.MapDataset.range(num_examples).shuffle(seed=seed).repeat()
    order = ExampleOrder(num_examples, seed)
    assert order.indices(np.array(places)).tolist() == [expected[place] for place in places]


@pytest.mark.parametrize("num_items", [1, 2, 255, 256, 65_535, 65_536, 65_537, 65_538, 262_145])
def test_every_example_comes_once(num_items):
    """Grain's own permutation of 4**k + 1 items leaves the last one out."""
    indices = permuted(np.arange(num_items), num_items=num_items, seeds=np.full(num_items, 3))
    np.testing.assert_array_equal(np.sort(indices), np.arange(num_items))


def test_epochs_differ_and_no_seed_leaves_the_order():
    order = ExampleOrder(50, 7)
    first, second = order.indices(np.arange(100)).reshape(2, 50)
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first), np.sort(second))
    assert ExampleOrder(50, None).indices(np.array([0, 49, 50, 101])).tolist() == [0, 49, 0, 1]
