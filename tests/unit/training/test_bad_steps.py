"""Steps that are not finite or whose loss is a spike: what is said, what they end, and what is not saved."""

import dataclasses
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_loop import run
from tiny_training import fresh, make_batch

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import TransientError
from t5lite.core.metrics import WeightedSum
from t5lite.training.bad_steps import BadSteps, StepRecord, WentBadError
from t5lite.training.metrics_log import read_metrics
from t5lite.training.replicas import ReplicaCheck
from t5lite.training.spikes import SpikeDetector


def batches(tiny, *nonfinite: int):
    """Batches, those of these steps (counted from 1) with a weight that is NaN."""
    for step in range(1, 100):
        batch = make_batch(step)
        if step in nonfinite:
            batch["decoder_loss_weights"][0, 0] = np.nan
        yield jax.device_put(batch, tiny.partitioner.batch_sharding)


def steps_saved(directory) -> list[int]:
    return available_steps(directory / "checkpoints")


@pytest.mark.slow
def test_they_are_said_at_once_then_counted_and_saves_wait_for_a_finite_step(tiny, tmp_path):
    log, seen = io.StringIO(), []

    def watched():
        for batch in batches(tiny, 2, 4, 5, 6):
            seen.append("step 2: " in log.getvalue())
            yield batch

    options = {"save_every_steps": 4, "keep_steps": (5,)}
    run(tiny, tmp_path, fresh(tiny), batches=watched(), stream=log, **options)
    assert seen[:4] == [False, False, False, True]  # metrics are read one step late
    said = [line for line in log.getvalue().splitlines() if "not finite" in line]
    assert said == [
        "step 2: grad_norm, loss, z_loss are not finite",
        "step 4: grad_norm, loss, z_loss are not finite, 2 such steps so far",
        "step 6: grad_norm, loss, z_loss are not finite, 4 such steps so far",
        "4 steps of this attempt were not finite",
    ]
    assert log.getvalue().count("step 5 is bad, and not saved: checkpoints.keep_steps names it") == 1
    assert steps_saved(tmp_path) == [7, 8, 10]
    entries = [entry for entry in read_metrics(tmp_path / "metrics.jsonl") if entry["kind"] == "train"]
    assert sum(entry["nonfinite"] for entry in entries) == 4


def test_a_run_does_not_end_well_in_steps_that_are_not_finite(tiny, tmp_path):
    message = "2 steps in a row went bad, up to step 10: grad_norm, loss, z_loss are not finite"
    with pytest.raises(WentBadError, match=message) as bad:
        run(tiny, tmp_path, fresh(tiny), batches=batches(tiny, 9, 10))
    assert bad.value.incident.last_good_step == 7
    assert steps_saved(tmp_path) == [4, 8]


def test_a_run_whose_parameters_overflow_ends_with_its_good_checkpoints(tiny, tmp_path):
    """As with an update too large for float32: loss and gradient of that step are finite."""

    def overflow(state, batch):
        last = jnp.where(state.step == 5, jnp.inf, 0.0)
        params = jax.tree.map(lambda x: x + last, state.params)
        one = jnp.float32(1)
        metrics = {"loss": WeightedSum(one, one), "nonfinite": jnp.float32(0)}
        return dataclasses.replace(state, step=state.step + 1, params=params), metrics

    overflowing = dataclasses.replace(fresh(tiny), opt_state=())
    tiny = type(tiny)(**{**vars(tiny), "compiled": jax.jit(overflow)})
    with pytest.raises(
        WentBadError, match=r"step 6 is not saved: (\d+) of its \d+ arrays hold NaN or inf"
    ) as bad:
        run(tiny, tmp_path, overflowing, batches=batches(tiny), save_every_steps=2)
    assert bad.value.incident.last_good_step == 5
    assert steps_saved(tmp_path) == [2, 4]


NOTHING = StepRecord()


def judged(losses, *, record=NOTHING, max_in_a_row=5, first_step=1, say=lambda text: None) -> BadSteps:
    bad_steps = BadSteps(max_in_a_row, SpikeDetector(threshold=10.0, window_steps=128), say, record)
    for step, loss in enumerate(losses, start=first_step):
        bad_steps.judge(step, metrics_of(loss))
    return bad_steps


def metrics_of(loss: float) -> dict:
    pair = WeightedSum(np.float32(loss * 8), np.float32(8))
    return {"loss": pair, "nonfinite": np.float32(not math.isfinite(loss))}


def test_a_row_of_spikes_and_steps_that_are_not_finite_is_one_incident():
    said = []
    with pytest.raises(
        WentBadError, match="5 steps in a row went bad, up to step 35: the loss is a spike"
    ) as bad:
        judged([2.0] * 30 + [1e9, math.nan, 7.0, math.inf, 50.0], say=said.append)
    assert (bad.value.incident.first_step, bad.value.incident.last_good_step) == (31, 29)
    assert said == [
        "step 31: the loss is a spike: 1e+09, above 3",
        "step 32: loss is not finite",
        "step 33: the loss is a spike: 7, above 3, 2 such steps so far",
        "step 34: loss is not finite, 2 such steps so far",
    ]


def test_spikes_that_pass_are_none_of_a_runs_business():
    bad_steps = judged(([2.0] * 30 + [1e9] * 4) * 5 + [2.0])
    assert (bad_steps.in_a_row, bad_steps.last_good_step(171)) == (0, 170)


@given(
    losses=st.lists(st.sampled_from([2.0, 2.1, 1.9, 9.0, math.nan]), max_size=80),
    cut=st.integers(0, 80),
)
def test_a_resumed_run_decides_as_the_uninterrupted_one(losses, cut):
    """The record goes through the JSON of a checkpoint."""

    def decided(judge):
        try:
            return judge().record
        except WentBadError as bad:
            return bad.incident

    def resumed():
        record = judged(losses[:cut]).record
        record = StepRecord.from_json(json.loads(json.dumps({"config": {}, **record.to_json()})))
        return judged(losses[cut:], record=record, first_step=len(losses[:cut]) + 1)

    assert decided(resumed) == decided(lambda: judged(losses))


@pytest.mark.parametrize(
    "record",
    [
        {"recent_losses": [1.0, "2"], "bad_in_a_row": 0, "first_bad": None},
        {"recent_losses": [math.nan]},
        {"recent_losses": 3},
        {"bad_in_a_row": -1},
        {"bad_in_a_row": 0.5},
        {"other": 1},
        [1],
    ],
)
def test_a_damaged_record_is_refused(record):
    with pytest.raises(ValueError, match="step_record is no record of steps"):
        StepRecord.from_json({"step_record": record})


def test_an_older_checkpoint_has_an_empty_record():
    assert StepRecord.from_json({"step": 3}) == StepRecord()


def test_the_newest_good_checkpoint_outlives_one_that_may_be_bad(tmp_path):
    """Saved within a row of bad steps, as on a signal: the next saves may be no better."""
    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        for step, good in [(10, 9), (20, 19), (21, 19), (22, 19), (23, 19), (30, 29), (40, 39)]:
            checkpoints.save(step, {"w": jnp.ones(3)}, {}, last_good_step=good)
            checkpoints.wait()
            if step == 23:
                assert available_steps(tmp_path) == [10, 23]
    assert available_steps(tmp_path) == [30, 40]


def test_replicas_are_checked_now_and_then_and_before_every_save(tiny, tmp_path, monkeypatch):
    checked = []

    def differ_at_9(self, state, step):
        checked.append((step, int(state.step)))
        if step == 9:
            raise TransientError("replicas differ")

    monkeypatch.setattr(ReplicaCheck, "check", differ_at_9)
    log = io.StringIO()
    options = {"save_every_steps": 4, "check_replicas_every_steps": 3, "stream": log}
    with pytest.raises(TransientError):
        run(tiny, tmp_path, fresh(tiny), **options)
    assert checked == [(3, 3), (4, 4), (6, 6), (8, 8), (9, 9)]
    assert steps_saved(tmp_path) == [4, 8]
    assert "no array has replicas on this mesh" in log.getvalue()
