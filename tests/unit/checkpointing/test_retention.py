"""Which checkpoints are kept."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import available_steps
from t5lite.checkpointing.retention import best_steps, steps_to_remove
from t5lite.core.errors import ConfigError

steps = st.sets(st.integers(0, 60), min_size=1)


@given(steps, st.integers(1, 5), st.none() | st.integers(1, 20), st.none() | st.integers(0, 60), st.data())
def test_every_rule_keeps_what_it_names_and_nothing_else_is_kept(there, last, every, good, data):
    named = data.draw(st.sets(st.integers(0, 60), max_size=3))
    scores = data.draw(st.dictionaries(st.sampled_from(sorted(there)), st.floats(-5, 5)))
    best = best_steps(scores, data.draw(st.integers(0, 3)), highest=data.draw(st.booleans()))
    rules = {"keep_every": every, "keep": named, "last_good_step": good, "best": best}
    removed = set(steps_to_remove(there, keep_last=last, **rules))
    assert removed < there
    newest = sorted(there)[-last:]
    up_to_good = [step for step in there if good is not None and step <= good]
    for step in there:
        kept = step in newest or step in best or step in named or bool(every and step % every == 0)
        kept = kept or (bool(up_to_good) and step == max(up_to_good))
        assert (step not in removed) == kept


@given(st.dictionaries(st.integers(0, 60), st.floats(-5, 5)), st.integers(0, 4), st.booleans())
def test_no_step_that_is_left_out_is_better_than_a_best_one(scores, num, highest):
    best = best_steps(scores, num, highest=highest)
    assert len(best) == min(num, len(scores))
    sign = -1 if highest else 1
    for step in scores.keys() - set(best):
        assert all(sign * scores[step] >= sign * scores[other] for other in best)


def test_the_best_are_kept_beside_the_newest_though_they_are_known_after_their_save(tmp_path: Path):
    config = CheckpointConfig(save_every_steps=1, keep_last=1, keep_best=2)
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: float("nan"), 5: 2.5}
    with Checkpoints(tmp_path, config) as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(step, {"w": jnp.ones(3)}, {})
            checkpoints.record_evaluation(step, {"loss": loss})
        checkpoints.save(6, {"w": jnp.ones(3)}, {})
        with pytest.raises(ConfigError, match=r"best_metric='loss' is not measured.*text_loss"):
            checkpoints.record_evaluation(6, {"text_loss": 1.0})
    assert available_steps(tmp_path) == [2, 3, 6]
