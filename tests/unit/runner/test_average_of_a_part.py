"""The moving average of parameters that another model shares with the one that was averaged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.core.errors import CheckpointError
from t5lite.runner.averages import restore_average


def test_it_is_taken_without_what_is_left_there(tmp_path):
    """A head of other classes is left; what was frozen has no average, and is taken as it is."""
    ones = {name: {"kernel": jnp.ones(3)} for name in ("encoder", "classifier", "frozen")}
    averaged = {name: {"kernel": jnp.full(3, 0.5)} for name in ("encoder", "classifier")}
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(2, {"step": jnp.int32(2), "params": ones, "opt_state": {"average": averaged}}, {})
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    leaf = jax.ShapeDtypeStruct((3,), jnp.float32, sharding=sharding)
    wanted = {"encoder": {"kernel": leaf}, "frozen": {"kernel": leaf}}
    params, report, _ = restore_average(
        tmp_path, wanted, 2, "ema", max_host_bytes=2**20, leave={"classifier.kernel"}
    )
    np.testing.assert_array_equal(params["encoder"]["kernel"], np.full(3, 0.5))
    np.testing.assert_array_equal(params["frozen"]["kernel"], np.ones(3))
    assert report.step == 2
    with pytest.raises(CheckpointError, match=r"classifier\.kernel: \(3,\) vs missing"):
        restore_average(tmp_path, wanted, 2, "ema", max_host_bytes=2**20)
