"""A vector is what pooling the hidden states of one text alone gives, whatever batch the text was in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.decoding import left_aligned
from t5lite.evaluation.text_embedding import TextEmbedder
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, NormalInitializer
from t5lite.models.functional import build
from t5lite.models.layers.pooling import normalised, pooled

SIZES = {"vocab_size": 40, "embed_dim": 8, "mlp_dim": 8, "head_dim": 4, "num_heads": 2}
SIZES |= {"initializer": NormalInitializer(std=0.5)}


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [2.0, 4.0]), ("cls", [1, 3]), ("last", [3, 5])])
def test_what_is_no_token_is_not_pooled_wherever_it_stands(pooling, expected):
    hidden_BLD = jnp.array([[[9, 9], [1, 3], [3, 5], [jnp.nan, jnp.inf]], [[7.0, 7]] * 4])
    is_token_BL = jnp.array([[0, 1, 1, 0], [0, 0, 0, 0]], bool)
    found_BD = pooled(hidden_BLD, is_token_BL, pooling)
    np.testing.assert_array_equal(found_BD, [expected, [0, 0]])
    lengths_B = np.linalg.norm(normalised(found_BD), axis=1)
    np.testing.assert_allclose(lengths_B, [1, 0], rtol=1e-6)
    gradient_BD = jax.grad(lambda vectors_BD: normalised(vectors_BD).sum())(found_BD)
    assert np.isfinite(gradient_BD).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        EncoderOnlyConfig(num_layers=1, max_length=16, **SIZES),
        EncoderDecoderConfig(num_encoder_layers=1, num_decoder_layers=1, **SIZES),
        DecoderOnlyConfig(num_layers=1, prefix_attention="bidirectional", **SIZES),
    ],
    ids=lambda config: config.architecture,
)
def test_vectors_come_in_order_and_do_not_depend_on_the_batch(config):
    model = build(config)
    params = jax.jit(model.init)(jax.random.key(0))
    lengths = (5, 0, 3, 9, 16, 1, 2)
    rows = [np.arange(2, 2 + length, dtype=np.int32) for length in lengths]
    embedder = TextEmbedder(model, pooling="mean", normalises=True, batch_size=3)
    vectors = list(embedder(params, rows))
    assert len(vectors) == len(rows)
    encode = jax.jit(
        lambda tokens_BM, is_text_BM: model.bind(params).encode(tokens_BM, segment_ids_BM=is_text_BM)
    )
    for row, found in zip(rows, vectors, strict=True):
        if not len(row):
            assert not found.any()
            continue
        hidden_BMD = encode(*left_aligned([row], 16))
        mean_D = np.asarray(hidden_BMD, np.float64)[0, : len(row)].mean(axis=0)
        np.testing.assert_allclose(found, mean_D / np.linalg.norm(mean_D), rtol=2e-4, atol=1e-5)
