"""Layers are a loop: more of them do not make a larger program, so that compiling it takes no longer.

Seconds are left to a benchmark's reader: on a busy machine the same compilation takes a third more or less.
"""

import dataclasses

import pytest

from t5lite.partitioning import PartitioningConfig
from tests.compile.steps import MODEL, compiled_step


def sizes(num_layers):
    """How many matrix products and collectives stand in the compiled program."""
    model = dataclasses.replace(
        MODEL, num_encoder_layers=num_layers, num_decoder_layers=num_layers, remat="full"
    )
    step = compiled_step(PartitioningConfig(), model)
    return len(step.products), len(step.collectives)


@pytest.mark.slow
def test_48_layers_are_as_large_a_program_as_4():
    of_48, of_4 = sizes(48), sizes(4)
    assert all(many <= 1.3 * few for many, few in zip(of_48, of_4, strict=True)), (of_48, of_4)
