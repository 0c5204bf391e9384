"""Milliseconds of the host per training step: the real loop around a step that computes nothing.

The loop, its telemetry (metrics file, TensorBoard events, progress line), the check for signals and the queue
of batches are those of a run; the model is one scalar, and its step returns every metric that a T5 step
returns. Beside it stands the same step dispatched in a bare Python loop: what JAX itself takes.

    python benchmarks/host_overhead.py
"""

import dataclasses
import io
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.metrics import WeightedSum
from t5lite.data.host_loader import device_batches
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.config import TrainingConfig
from t5lite.training.loop import TrainingParts, train
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption
from t5lite.training.state import TrainState
from t5lite.training.telemetry import Telemetry

NUM_STEPS, NUM_ROUNDS = 2000, 5


def null_step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
    """Count one step; the metrics are those of ``training.step.make_train_step``."""
    one = jnp.float32(1.0) + 0 * batch["decoder_input_tokens"][0, 0]
    pair = WeightedSum(one, one)
    metrics = dict.fromkeys(("loss", "z_loss", "token_accuracy"), pair)
    metrics |= dict.fromkeys(("grad_norm", "param_norm", "learning_rate"), one)
    metrics |= {"nonfinite": 0 * one, "tokens": jnp.int32(1)}
    return dataclasses.replace(state, step=state.step + 1), metrics


def bare(compiled: Any, state: TrainState, batch: Any) -> float:
    """Return seconds a step of dispatching and reading the metrics one step late, and nothing else."""
    pending = None
    start = time.perf_counter()
    for _ in range(NUM_STEPS):
        state, metrics = compiled(state, batch)
        if pending is not None:
            jax.device_get(pending)
        pending = metrics
    return (time.perf_counter() - start) / NUM_STEPS


def looped(step: Any, state: TrainState, host_batch: dict[str, np.ndarray], sharding: Any) -> float:
    """Return seconds a step of the training loop."""
    config = TrainingConfig(total_steps=NUM_STEPS, batch_size=1, log_every_steps=20)
    phases = Phases()
    with (
        tempfile.TemporaryDirectory() as directory,
        device_batches(itertools.repeat(host_batch), sharding=sharding) as batches,
        Telemetry(
            Path(directory),
            PhaseClock(phases),
            start_step=0,
            total_steps=NUM_STEPS,
            step_flops=1.0,
            stream=io.StringIO(),
        ) as telemetry,
        Preemption(phases) as preemption,
    ):
        parts = TrainingParts(train_step=step, batches=batches, telemetry=telemetry, preemption=preemption)
        start = time.perf_counter()
        train(state, config, parts)
        return (time.perf_counter() - start) / NUM_STEPS


def main() -> None:
    """Measure both in turn and print medians."""
    partitioner = make_partitioner(PartitioningConfig())
    step = jax.jit(null_step)
    host_batch = {"decoder_input_tokens": np.ones((1, 8), np.int32)}
    batch = jax.device_put(host_batch, partitioner.batch_sharding)

    def state() -> TrainState:
        zero = jax.device_put(jnp.int32(0), partitioner.replicated)
        return TrainState(step=zero, params={}, opt_state=())

    compiled = step.lower(state(), batch).compile()
    rounds = [
        (bare(compiled, state(), batch), looped(step, state(), host_batch, partitioner.batch_sharding))
        for _ in range(NUM_ROUNDS)
    ]
    jax_ms, loop_ms = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"bare dispatch {jax_ms:.2f} ms a step, training loop {loop_ms:.2f} ms, medians of {NUM_ROUNDS}")


if __name__ == "__main__":
    main()
