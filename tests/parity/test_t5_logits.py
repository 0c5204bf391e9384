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
from transformers.models.t5.modeling_t5 import T5Attention

from t5lite.models.functional import build
from t5lite.models.layers.position import relative_position_bucket


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("encoder_length", [9, 150])  # 150: all buckets, the far one included
def test_logits_equal_transformers(version, encoder_length):
    config = make_config(version)
    model = build(config)
    params = make_params(model, seed=encoder_length)
    # The decoder rows carry only real tokens: the encoder's padding is what is masked here.
    batch = make_batch(vocab_size=96, encoder_length=encoder_length, decoder_length=encoder_length, seed=1)
    logits_BLV = jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch)
    with torch.no_grad():
        expected_BLV = transformers_logits(make_transformers_model(params, config), batch).numpy()
    assert expected_BLV.std() > 0.5
    np.testing.assert_allclose(logits_BLV, expected_BLV, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_equal_transformers(bidirectional):
    relative_position = np.arange(-600, 601)
    arguments = {"bidirectional": bidirectional, "num_buckets": 32, "max_distance": 128}
    expected = T5Attention._relative_position_bucket(torch.tensor(relative_position), **arguments)
    got = relative_position_bucket(jnp.asarray(relative_position), **arguments)
    np.testing.assert_array_equal(got, expected.numpy())
