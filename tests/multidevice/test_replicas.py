"""Replicas that are not the same bits are found, and the devices that hold the odd ones named."""

import pytest


@pytest.fixture(scope="module")
def results(run_on_eight_devices):
    return run_on_eight_devices("replica_worker.py")


@pytest.mark.fault(
    "a bit of one replica flips, with `training.check_replicas_every_steps`",
    "arrays and devices are named, the state is not saved",
    75,
)
def test_equal_replicas_and_arrays_without_any_pass(results):
    assert results["replicated"] == 3
    assert results["nothing"] is None
    assert results["what has no replica"] is None


@pytest.mark.parametrize(
    ("case", "arrays", "devices"),
    [
        ("one of eight", "1 of 4 arrays (scale)", [3]),
        ("two of eight", "1 of 4 arrays (scale)", [3, 7]),
        ("a scalar", "1 of 4 arrays (step)", [5]),
        ("one of a pair", "1 of 4 arrays (layers)", [2, 6]),  # nobody knows which
        ("two arrays", "2 of 4 arrays (layers, scale)", [1, 5]),
    ],
)
def test_a_flipped_bit_is_told_with_array_and_devices(results, case, arrays, devices):
    named = ", ".join(f"cpu:{device} of process 0" for device in devices)
    assert results[case].startswith(
        f"after step 7 {arrays} are not the same bits on all devices that hold them; {named} differ from most"
    )
