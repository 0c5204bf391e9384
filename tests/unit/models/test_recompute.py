"""What a layer keeps for its backward pass where nothing but cheap functions is recomputed."""

from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from t5lite.models.config import (
    DecoderOnlyConfig,
    Execution,
    GatedMLP,
    LayerNorm,
    MLPKind,
    NormKind,
    PlainMLP,
    RMSNorm,
)
from t5lite.models.functional import build

LAYERS, ROWS, LENGTH, EMBED, MLP = 3, 2, 8, 16, 48
SMALL = DecoderOnlyConfig(
    vocab_size=32,
    embed_dim=EMBED,
    mlp_dim=MLP,
    head_dim=8,
    num_heads=2,
    num_layers=LAYERS,
)


def kept(config: DecoderOnlyConfig) -> Counter[tuple[str, tuple[int, ...]]]:
    """Return dtypes and shapes of what the forward pass keeps, and how often."""
    model = build(config, Execution(compute_dtype="bfloat16"))
    params = model.init(jax.random.key(0))
    tokens = jnp.ones((ROWS, LENGTH), jnp.int32)
    _, backward = jax.vjp(lambda params: model.bind(params)({"decoder_input_tokens": tokens}), params)
    return Counter((str(x.dtype), x.shape) for x in jax.tree.leaves(backward))


@pytest.mark.parametrize("mlp", [PlainMLP(activation="gelu_tanh"), GatedMLP(activation="silu")], ids=str)
def test_of_an_mlp_its_projections_and_what_the_last_one_reads_are_kept(mlp: MLPKind):
    arrays = kept(replace(SMALL, mlp=mlp))
    assert arrays["bfloat16", (LAYERS, ROWS, LENGTH, MLP)] == mlp.num_inputs + 1


@pytest.mark.parametrize("norm", [RMSNorm(), LayerNorm(bias=False)], ids=str)
def test_norms_keep_nothing_in_float32(norm: NormKind):
    arrays = kept(replace(SMALL, norm=norm))
    assert arrays["float32", (LAYERS, ROWS, LENGTH, EMBED)] == 0
    assert arrays["bfloat16", (LAYERS, ROWS, LENGTH, EMBED)] > 0
