"""The preemption service counts who asks it: a save must not ask beside the training loop."""

import jax.numpy as jnp
from jax.experimental import multihost_utils

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints


def test_saving_does_not_ask_the_preemption_service(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", asked.append)
    with Checkpoints(tmp_path / "checkpoints", CheckpointConfig(save_every_steps=1)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"w": jnp.ones(3)}, {"step": step})
        checkpoints.wait()
        assert checkpoints.latest_step() == 2
    assert asked == []
