"""A Hugging Face folder arrives sharded on any mesh of eight devices, and leaves it as the same bytes.

Eight divides neither GPT-2's rows here nor its MLP: they are kept with their real sizes, split otherwise.
"""

import pytest

pytestmark = pytest.mark.slow

SHARES = {"data 8": 1.0, "fsdp 8": 1 / 8, "tensor 8": 1 / 8, "fsdp 2 x tensor 4": 1 / 8}


@pytest.fixture(scope="module")
def results(run_on_eight_devices):
    return run_on_eight_devices("huggingface_worker.py")


@pytest.mark.parametrize("model", ["t5", "gpt2"])
@pytest.mark.parametrize("mesh", SHARES)
def test_values_and_places(results, model, mesh):
    result = results[model][mesh]
    assert result["same"]
    assert result["placed"]
    assert result["exported"]
    # Norm scales, biases and position tables may stay whole.
    assert SHARES[mesh] <= result["share"] <= SHARES[mesh] + 0.1


def test_heads_that_the_mesh_does_not_divide_are_refused(results):
    assert "num_heads=4 is not divisible by mesh axis 'tensor'=8" in results["indivisible"]
