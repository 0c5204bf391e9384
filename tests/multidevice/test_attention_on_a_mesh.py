"""The attention kernel on a mesh: each device computes its part, and shared gradients are summed."""

import pytest

pytestmark = pytest.mark.slow

MESHES = ["fsdp 2 x tensor 4", "fsdp 2 x sequence 2 x tensor 2"]


@pytest.fixture(scope="module")
def differences(run_on_eight_devices):
    return run_on_eight_devices("attention_worker.py")


@pytest.mark.parametrize("kind", ["encoder", "causal", "shared heads in a window"])
@pytest.mark.parametrize("mesh", MESHES)
def test_output_and_gradients_equal_the_reference_on_one_device(differences, mesh, kind):
    assert max(differences[f"{mesh}, {kind}"].values()) < 1e-5, differences
