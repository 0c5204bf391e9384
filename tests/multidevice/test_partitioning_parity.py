"""Every mesh gives the training of one device: the same losses for five steps, to float32 rounding."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

MESHES = [
    "data 8",
    "fsdp 8",
    "tensor 8",
    "replica 2 x fsdp 2 x tensor 2",
    "fsdp 2 x sequence 2 x tensor 2",
]


@pytest.fixture(scope="module")
def results(run_on_eight_devices):
    return run_on_eight_devices("parity_worker.py")


@pytest.mark.parametrize("mesh", [*MESHES, "fsdp 8, gathered once"])
def test_losses_equal_those_of_one_device(results, mesh):
    alone = results["one device"]
    for metric in ("losses", "grad_norms", "param_norms"):
        np.testing.assert_allclose(results[mesh][metric], alone[metric], rtol=1e-5, err_msg=metric)


@pytest.mark.parametrize("mesh", ["partly frozen, on a mesh", "partly frozen, gathered once"])
def test_a_model_that_is_frozen_in_part_trains_alike_and_what_is_frozen_stays(results, mesh):
    alone, spread = results["partly frozen, one device"], results[mesh]
    for metric in ("losses", "grad_norms", "param_norms"):
        np.testing.assert_allclose(spread[metric], alone[metric], rtol=1e-5, err_msg=metric)
    assert alone["losses"][0] == pytest.approx(results["one device"]["losses"][0])
    assert alone["losses"][-1] != pytest.approx(results["one device"]["losses"][-1])
    assert len(spread["frozen"]) == 15
    assert set(spread["frozen"].values()) == set(alone["frozen"].values()) == {0.0}


def test_an_adapter_trains_alike_on_a_mesh_and_its_base_stays(results):
    """Its factors are sharded and gathered with the kernels that they stand beside."""
    alone, spread = results["an adapter, one device"], results["an adapter, gathered once"]
    for metric in ("losses", "grad_norms", "param_norms"):
        np.testing.assert_allclose(spread[metric], alone[metric], rtol=1e-5, err_msg=metric)
    assert alone["losses"][0] == pytest.approx(results["one device"]["losses"][0])
    assert len(spread["frozen"]) == 29
    assert set(spread["frozen"].values()) == set(alone["frozen"].values()) == {0.0}


@pytest.mark.parametrize(
    ("where", "num_trained"),
    [
        ("partly frozen, one device", 14),
        ("partly frozen, on a mesh", 14),
        ("an adapter, one device", 36),
        ("an adapter, gathered once", 36),
    ],
)
def test_the_moving_average_is_of_what_is_trained_alone_and_lies_beside_it(results, where, num_trained):
    average = results[where]["average"]
    assert len(average) == num_trained
    assert not average.keys() & results[where]["frozen"].keys()
    for path, found in average.items():
        assert found["off"] < 1e-6, path
        assert found["is_sharded_alike"], path


def test_parameters_move(results):
    """Equal losses mean nothing if the parameters stand still."""
    assert np.abs(np.diff(results["one device"]["param_norms"])).min() > 1e-3


@pytest.mark.parametrize(("mesh", "share"), [("data 8", 1), ("fsdp 8", 8), ("tensor 8", 8), (MESHES[3], 4)])
def test_parameters_are_really_sharded(results, mesh, share):
    whole = results["one device"]["parameter_bytes_per_device"]
    here = results[mesh]["parameter_bytes_per_device"]
    # Norm scales and relative-position tables stay whole, so a share is a little more than its fraction.
    assert whole / share <= here <= 1.2 * whole / share
