"""The batch of a step, from the changes of batch size that a run's history tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.runner.step_examples import StepBatches


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
