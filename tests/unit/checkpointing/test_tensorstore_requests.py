"""The arrays of checkpoints in a bucket, which TensorStore writes and reads by requests of its own."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.core.storage.retries import RETRIES
from tests.faulty_proxy import faulty_proxy

pytestmark = pytest.mark.slow

STATE = {"w": jnp.arange(3000.0)}
ABSTRACT = {
    "w": jax.ShapeDtypeStruct(
        (3000,), jnp.float32, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
    )
}


def test_what_is_tried_again_is_counted_and_files_of_aws_are_not_missed(bucket, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HOME", str(tmp_path))  # where no ~/.aws is
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = {"w": jax.ShapeDtypeStruct((3000,), jnp.float32, sharding=sharding)}
    variable = "AWS_ENDPOINT_URL" if bucket.startswith("s3") else "TENSORSTORE_GCS_HTTP_URL"
    with (
        faulty_proxy(os.environ[variable]) as proxy,
        Checkpoints(bucket, CheckpointConfig(save_every_steps=1)) as checkpoints,
    ):
        monkeypatch.setenv(variable, proxy.url)  # of TensorStore alone; other clients know the server by now
        before = RETRIES.total
        proxy.faults = ["503"]
        checkpoints.save(1, STATE, {"step": 1})
        checkpoints.wait()
        assert not proxy.faults
        written = RETRIES.total
        assert written > before
        proxy.faults = ["503"]
        np.testing.assert_array_equal(checkpoints.restore(abstract, 1)["w"], STATE["w"])
        assert not proxy.faults
        assert RETRIES.total > written
    assert ".aws" not in capfd.readouterr().err
