import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from t5_reference import (
    VERSIONS,
    make_batch,
    make_config,
    make_params,
    make_transformers_model,
    transformers_logits,
)

from t5lite.interop.huggingface import state_dict_from_params
from t5lite.models.functional import build


@pytest.mark.parametrize("version", VERSIONS)
def test_gradients_equal_transformers(version):
    """Every tensor of the mean cross-entropy's gradient, to 1e-4 of its largest entry."""
    config = make_config(version)
    model = build(config)
    params = make_params(model, seed=3)
    batch = make_batch(vocab_size=96, encoder_length=20, decoder_length=10, seed=4)
    targets = np.random.default_rng(5).integers(2, 96, (4, 10))

    @jax.jit
    def gradients_of(params, batch):
        def loss(params):
            log_probabilities = jax.nn.log_softmax(model.bind(params)(batch))
            return -jnp.mean(jnp.take_along_axis(log_probabilities, targets[..., None], axis=-1))

        return jax.grad(loss)(params)

    # Gradients have the parameters' structure, so the exporter's mapping carries them across too.
    gradients = state_dict_from_params(gradients_of(params, batch), config)
    peer = make_transformers_model(params, config)
    logits = transformers_logits(peer, batch)
    torch.nn.functional.cross_entropy(logits.reshape(-1, 96), torch.tensor(targets).reshape(-1)).backward()
    expected = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    assert set(gradients) == set(expected)
    for name, gradient in expected.items():
        largest = np.abs(gradient).max()
        assert largest > 1e-6, name
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-4 * largest, rtol=0, err_msg=name)
