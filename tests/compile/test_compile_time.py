"""Layers are a loop: more of them do not take longer to compile."""

import dataclasses
import time

import pytest

from t5lite.partitioning import PartitioningConfig
from tests.compile.steps import MODEL, compiled_step


def seconds_of_work(num_layers):
    """CPU seconds of all threads, which other processes do not change, of compiling this many layers."""
    model = dataclasses.replace(
        MODEL, num_encoder_layers=num_layers, num_decoder_layers=num_layers, remat="full"
    )
    start = time.process_time()
    compiled_step(PartitioningConfig(), model)
    return time.process_time() - start


@pytest.mark.slow
def test_48_layers_compile_as_fast_as_4():
    seconds_of_work(2)  # loads and warms up the compiler
    assert seconds_of_work(48) < 1.3 * seconds_of_work(4)
