"""A model writes on a mesh what it writes on one device, and no device holds all of it or of its cache."""

import numpy as np
import pytest

MESHES = {"answers": {"tensor": 8, "fsdp": 1}, "continues": {"tensor": 4, "fsdp": 2}}


@pytest.fixture(scope="module")
def results(run_on_eight_devices):
    return run_on_eight_devices("generation_worker.py")


@pytest.mark.slow
@pytest.mark.parametrize("model", MESHES)
def test_a_model_that_is_shared_out_writes_the_same(results, model):
    alone, together, mesh = (results[model][name] for name in ("alone", "together", "mesh"))
    assert MESHES[model].items() <= mesh.items()
    assert together["texts"] == alone["texts"]
    assert len(set(alone["texts"])) > 3
    assert together["bytes"] < 0.2 * alone["bytes"]
    assert results[model]["share_of_cache"] <= 1 / 4
    assert together["everywhere"]  # else a process of several could not read what devices of others hold


@pytest.mark.slow
def test_what_is_served_and_scored_over_a_mesh_is_the_same(results):
    """With kernels of int8, whose scales lie where their columns do."""
    alone, together = (results["served"][name] for name in ("alone", "together"))
    assert together["tokens"] == alone["tokens"]
    assert len({tuple(tokens) for tokens in alone["tokens"]}) == 3
    for found, expected in zip(together["scores"], alone["scores"], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert together["bytes"] < 0.25 * alone["bytes"]
