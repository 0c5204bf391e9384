"""Seconds to compile a training step of 4 and of 48 layers for a TPU, in turn, and their ratio.

Layers are a loop, so the programs are of one size (``tests/compile/test_training_steps.py``); this is what it
takes to trace, lower, compile and count them. Needs the packages of the ``test`` extra, not a TPU.

    python benchmarks/compile_time.py
"""

import dataclasses
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.update(JAX_PLATFORMS="cpu", JAX_COMPILATION_CACHE_DIR="")
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax

from t5lite.partitioning import PartitioningConfig
from tests.compile.steps import EXECUTION, MODEL, TOPOLOGY, compiled_step

LAYERS = (4, 48)
ROUNDS = 3


def seconds(num_layers: int) -> float:
    """Return what one compilation takes, with nothing kept of another."""
    jax.clear_caches()
    model = dataclasses.replace(MODEL, num_encoder_layers=num_layers, num_decoder_layers=num_layers)
    execution = dataclasses.replace(EXECUTION, remat="full")
    start = time.perf_counter()
    compiled_step(PartitioningConfig(), model, execution)
    return time.perf_counter() - start


def main() -> None:
    """Print both medians and their ratio."""
    seconds(2)  # loads libtpu
    times = [[seconds(num_layers) for num_layers in LAYERS] for _ in range(ROUNDS)]
    few, many = (statistics.median(column) for column in zip(*times, strict=True))
    few_layers, many_layers = LAYERS
    print(f"{TOPOLOGY}: {few_layers} layers {few:.1f} s, {many_layers} layers {many:.1f} s, {many / few:.2f}")


if __name__ == "__main__":
    main()
