"""Steps that are not finite: what is said of them, what they end, and what is not saved."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_loop import run
from tiny_training import fresh, make_batch

from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import CheckpointError, UserError
from t5lite.training.metrics_log import read_metrics


def batches(tiny, *nonfinite: int):
    """Batches, those of these steps (counted from 1) with a weight that is NaN."""
    for step in range(1, 100):
        batch = make_batch(step)
        if step in nonfinite:
            batch["decoder_loss_weights"][0, 0] = np.nan
        yield jax.device_put(batch, tiny.partitioner.batch_sharding)


def steps_saved(directory) -> list[int]:
    return available_steps(directory / "checkpoints")


def test_they_are_said_at_once_then_counted_and_saves_wait_for_a_finite_step(tiny, tmp_path):
    log, seen = io.StringIO(), []

    def watched():
        for batch in batches(tiny, 2, 4, 5, 6):
            seen.append("step 2: " in log.getvalue())
            yield batch

    run(tiny, tmp_path, fresh(tiny), batches=watched(), stream=log, save_every_steps=4)
    assert seen[:4] == [False, False, False, True]  # metrics are read one step late
    said = [line for line in log.getvalue().splitlines() if "not finite" in line]
    assert said == [
        "step 2: grad_norm, loss, z_loss are not finite",
        "step 4: grad_norm, loss, z_loss are not finite, 2 such steps so far",
        "step 6: grad_norm, loss, z_loss are not finite, 4 such steps so far",
        "4 steps of this attempt were not finite",
    ]
    assert steps_saved(tmp_path) == [7, 8, 10]
    entries = [entry for entry in read_metrics(tmp_path / "metrics.jsonl") if entry["kind"] == "train"]
    assert sum(entry["nonfinite"] for entry in entries) == 4


def test_a_run_does_not_end_well_in_steps_that_are_not_finite(tiny, tmp_path):
    message = (
        "not finite for 2 steps in a row, up to step 10, which is not saved; lower the learning rate or .*"
        "resumes from step 8, or from the one before if you delete that checkpoint"
    )
    with pytest.raises(UserError, match=message):
        run(tiny, tmp_path, fresh(tiny), batches=batches(tiny, 9, 10))
    assert steps_saved(tmp_path) == [4, 8]


def test_a_run_whose_parameters_overflow_ends_with_its_good_checkpoints(tiny, tmp_path):
    """As with an update too large for float32: loss and gradient of that step are finite."""

    def overflow(state, batch):
        last = jnp.where(state.step == 5, jnp.inf, 0.0)
        params = jax.tree.map(lambda x: x + last, state.params)
        metrics = {"loss": jnp.float32(1), "nonfinite": jnp.float32(0)}
        return dataclasses.replace(state, step=state.step + 1, params=params), metrics

    overflowing = dataclasses.replace(fresh(tiny), opt_state=())
    tiny = type(tiny)(**{**vars(tiny), "compiled": jax.jit(overflow)})
    with pytest.raises(
        CheckpointError, match=r"step 6 is not saved: (\d+) of its \d+ arrays hold NaN or inf"
    ):
        run(tiny, tmp_path, overflowing, batches=batches(tiny), save_every_steps=2)
    assert steps_saved(tmp_path) == [2, 4]
