"""A tiny model of each family learns, and learns the same on a mesh of eight devices."""

import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from tests.families import FAMILIES, TRAINED_AS


@pytest.fixture(scope="module")
def results(run_on_eight_devices):
    return run_on_eight_devices("family_worker.py")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_falls(results, family):
    losses = results[TRAINED_AS[family]]["alone"]["losses"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_mesh_gives_the_training_of_one_device(results, family):
    alone, mesh = (results[TRAINED_AS[family]][where] for where in ("alone", "mesh"))
    np.testing.assert_allclose(mesh["losses"], alone["losses"], rtol=1e-4)
    np.testing.assert_allclose(mesh["param_norm"], alone["param_norm"], rtol=1e-4)


def test_key_and_value_heads_that_the_tensor_axis_does_not_divide_are_refused():
    model = build(FAMILIES["llama3"])
    partitioner = abstract_partitioner(PartitioningConfig(tensor=4, style="tensor_parallel"), 4)
    with pytest.raises(ConfigError, match=r"^num_kv_heads=2 is not divisible by .*'tensor'=4; use 4"):
        partitioner.check(8, model.config.head_counts)


def test_a_single_key_and_value_head_is_whole_on_every_device():
    model = build(FAMILIES["palm"])
    partitioner = abstract_partitioner(PartitioningConfig(tensor=4, style="tensor_parallel"), 4)
    partitioner.check(8, model.config.head_counts)
