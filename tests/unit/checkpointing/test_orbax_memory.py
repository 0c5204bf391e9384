"""Looking into checkpoints holds no memory."""

import gc

import jax.numpy as jnp

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import saved_shapes

NUM_LOOKS = 40


def test_looking_into_a_checkpoint_again_and_again_holds_nothing(tmp_path):
    state = {"params": {f"array{n}": jnp.ones((4, n + 1)) for n in range(8)}}
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, state, {})
    shapes = saved_shapes(tmp_path, 1, "params")
    assert shapes == {f"array{n}": (4, n + 1) for n in range(8)}
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(NUM_LOOKS):
        saved_shapes(tmp_path, 1, "params")
    gc.collect()
    assert len(gc.get_objects()) - before < NUM_LOOKS  # it was ten an array
