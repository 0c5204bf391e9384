"""A run that goes on on other meshes and with other batch sizes trains on the same examples."""

import numpy as np
import pytest


@pytest.mark.fault(
    "a run goes on with another batch size, microbatching, mesh or number of hosts",
    "goes on at the next example, said",
    0,
)
@pytest.mark.slow
def test_other_meshes_and_batch_sizes_see_the_same_examples_in_order_with_the_losses_of_one_device(
    run_on_eight_devices,
):
    results = run_on_eight_devices("elastic_worker.py")
    elastic, one_device = results["elastic"], results["one_device"]
    assert elastic["seen"] == one_device["seen"] == results["stream"]
    assert elastic["examples_seen"] == one_device["examples_seen"] == len(results["stream"])
    assert len(elastic["losses"]) == 5
    np.testing.assert_allclose(elastic["losses"], one_device["losses"], rtol=1e-5)
