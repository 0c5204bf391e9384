"""Fingerprints: the same number however it is computed, and no second copy of the state to compute it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.checkpointing.fingerprint import fingerprints, fingerprints_once


def by_hand(x: np.ndarray) -> int:
    """The sum of the docstring, in Python's integers."""
    bits = x.reshape(-1).view(np.uint32)
    return sum(int(b) * (i * 0x9E3779B1 % 2**32 | 1) for i, b in enumerate(bits)) % 2**32


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (3, 4, 5), (2, 3, 1, 5)])
def test_the_number_is_the_documented_sum(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert int(fingerprints({"x": jnp.asarray(x)})["x"]) == by_hand(x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "int8"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 4, 5), (700, 1000)])
def test_numpy_finds_the_same_without_a_program(dtype, shape, monkeypatch):
    x = jnp.asarray(np.random.default_rng(0).integers(-100, 100, shape), dtype)
    expected = {"x": int(fingerprints({"x": x})["x"])}
    monkeypatch.setattr("t5lite.checkpointing.fingerprint.fingerprints", None)
    assert fingerprints_once({"x": x}) == fingerprints_once({"x": np.asarray(x)}) == expected


def test_no_more_than_a_layer_of_each_array_is_copied():
    state = {name: jax.ShapeDtypeStruct((16, 64, 32), jnp.float32) for name in "abc"}
    analysis = fingerprints.lower(state).compile().memory_analysis()
    assert analysis.temp_size_in_bytes < 2 * 3 * 64 * 32 * 4
