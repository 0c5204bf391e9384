"""The negatives of a pair are those of the whole batch, however many devices share it."""

import numpy as np
import pytest


@pytest.mark.slow
def test_eight_devices_find_the_loss_and_the_gradient_of_one(run_on_eight_devices):
    results = run_on_eight_devices("contrast_worker.py")
    np.testing.assert_allclose(results["mesh"], results["alone"], rtol=2e-4)
    losses = [loss for loss, _ in results["alone"]]
    assert losses[-1] < losses[0]
