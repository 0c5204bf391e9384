"""A T5X checkpoint arrives on eight devices, each with its own share of the values that were written."""

import pytest

pytestmark = pytest.mark.slow

SHARES = {"data 8": 1, "fsdp 8": 8, "tensor 8": 8, "replica 2 x fsdp 2 x tensor 2": 4}


@pytest.fixture(scope="module")
def results(run_on_eight_devices):
    return run_on_eight_devices("t5x_worker.py")


def test_values_and_layout(results):
    assert len(results) == 6 + len(SHARES) - 1  # every layout on the mixed mesh, one on the others
    assert [name for name, found in results.items() if not found["values"]] == []
    assert [name for name, found in results.items() if not found["laid out"]] == []
    assert all(found["config"] for found in results.values())


@pytest.mark.parametrize("mesh", SHARES)
def test_shares(results, mesh):
    for name, found in results.items():
        if name.endswith(f", {mesh}"):
            # Norm scales and relative-position tables stay whole.
            share = found["bytes per device"] / found["bytes"]
            assert 1 / SHARES[mesh] <= share <= 1.3 / SHARES[mesh]
