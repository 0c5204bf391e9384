"""Tiny models with perturbed parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.models.config import EncoderDecoderConfig, RelativePositions
from t5lite.models.functional import FunctionalModel


def make_config(**changes: Any) -> EncoderDecoderConfig:
    fields: dict[str, Any] = {
        "vocab_size": 40,
        "embed_dim": 16,
        "mlp_dim": 24,
        "head_dim": 4,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "positions": RelativePositions(num_buckets=8, max_distance=20),
    }
    return EncoderDecoderConfig(**{**fields, **changes})


def make_params(model: FunctionalModel, seed: int = 0) -> Any:
    """Random parameters of about unit effect, norm scales and relative biases included.

    Drawn by NumPy, because compiling ``init`` takes longer than most of the tests.
    """
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = jax.tree_util.keystr(path)
        if "scale" in name:
            return jnp.asarray(rng.uniform(0.7, 1.3, leaf.shape), leaf.dtype)
        std = 1.0 if "embedding" in name else 0.3
        return jnp.asarray(std * rng.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, model.abstract_params)


def make_batch(*, rows: int = 2, encoder_length: int = 7, decoder_length: int = 5, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return {
        "encoder_input_tokens": jnp.asarray(rng.integers(2, 40, (rows, encoder_length)), jnp.int32),
        "decoder_input_tokens": jnp.asarray(rng.integers(2, 40, (rows, decoder_length)), jnp.int32),
    }


def make_loss(model: FunctionalModel) -> Any:
    """A scalar that every logit matters to, differently."""

    @jax.jit
    def loss(params: Any, batch: Any, dropout_key: Any = None) -> jax.Array:
        logits_BLV = model.bind(params)(batch, dropout_key=dropout_key)
        weights = jnp.sin(jnp.arange(logits_BLV.size, dtype=jnp.float32)).reshape(logits_BLV.shape)
        return jnp.mean(weights * jax.nn.log_softmax(logits_BLV))

    return loss
