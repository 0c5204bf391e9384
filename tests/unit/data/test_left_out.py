"""Laws of leaving examples out, and that batches obey them whoever makes them."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.left_out import LeftOut
from t5lite.data.pipeline import open_pipeline

pairs = st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda pair: (pair[0], sum(pair)))
many = st.lists(pairs, max_size=6)


@given(ranges=many)
def test_positions_are_the_places_that_are_left(ranges):
    gone = {place for start, stop in ranges for place in range(start, stop)}
    left = [place for place in range(300) if place not in gone]
    left_out = LeftOut.of(ranges)
    np.testing.assert_array_equal(left_out.places(np.arange(len(left))), left)
    assert [left_out.place(position) for position in (0, 17, 100)] == [left[0], left[17], left[100]]
    assert [left_out.num_before(place) for place in range(300)] == [
        sum(each < place for each in gone) for place in range(300)
    ]


@given(ranges=many, more=pairs)
def test_a_later_gap_moves_nothing_before_it(ranges, more):
    before, after = LeftOut.of(ranges), LeftOut.of([*ranges, more])
    positions = np.arange(200)
    earlier = before.places(positions) < more[0]
    np.testing.assert_array_equal(before.places(positions)[earlier], after.places(positions)[earlier])


@given(ranges=many)
def test_it_comes_back_from_json(ranges):
    left_out = LeftOut.of(ranges)
    assert LeftOut.from_json(json.loads(json.dumps({"step": 3, **left_out.to_json()}))) == left_out
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(left_out.ranges))


@pytest.mark.parametrize("value", [3, [3], [[1, 2, 3]], [[2, 1]], [[-1, 2]], [[0.0, 2]], [[True, 2]], None])
def test_what_is_no_list_of_ranges_is_refused(value):
    with pytest.raises(ValueError, match=r"left_out is .*, no list of ranges"):
        LeftOut.from_json({"left_out": value})


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_are_those_of_a_stream_without_the_gaps(text_store, num_workers):
    config = PretrainingDataConfig(store=str(text_store), inputs_length=32, max_epochs=1)
    whole, gapped = open_pipeline(config, seed=3), open_pipeline(config, seed=3)
    assert whole.num_positions is not None
    gapped.leave_out(LeftOut(((5, 9), (12, 13))))
    assert gapped.num_positions == whole.num_positions - 5
    left = [place for place in range(whole.num_positions) if place not in (5, 6, 7, 8, 12)]
    batches = list(gapped.batches(batch_size=6, num_workers=num_workers, rows=slice(2, 6)))
    assert len(batches) == len(left) // 6 > 2
    for number, batch in enumerate(batches):
        expected = whole.rows(np.array(left[6 * number + 2 : 6 * number + 6]))
        assert batch.keys() == expected.keys()
        for name, field in batch.items():
            np.testing.assert_array_equal(field, expected[name])
