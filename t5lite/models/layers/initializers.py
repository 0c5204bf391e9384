"""Initial values of every kind of parameter under each scheme of ``TransformerConfig.initializer``."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.core.types import LogicalAxes
from t5lite.models.config import TransformerConfig

Kind = Literal["embedding", "query", "key_value", "attention_out", "mlp_in", "mlp_out", "dense", "logits"]
"""What a kernel is for; T5X scales each by its fan-in, with its own distribution."""

_RESIDUAL_OUTPUTS = ("attention_out", "mlp_out")
_T5_NORMAL = ("query", "key_value", "attention_out")


def make_parameter(
    config: TransformerConfig,
    kind: Kind,
    shape: tuple[int, ...],
    axes: LogicalAxes,
    *,
    rngs: nnx.Rngs,
) -> nnx.Param:
    """Return a kernel ``[inputs, outputs]`` or a table.

    Schemes:
      t5: as T5X. Embeddings N(0, 1); q ~ N(0, 1/(D K)), which stands in for the division of the logits by
        sqrt(K) (N(0, 1/D) where the logits are divided); k, v ~ N(0, 1/D); o ~ N(0, 1/(H K)); the rest
        truncated normal with variance 1/fan-in. transformers starts an untied head as N(0, 1), which
        hurts pretraining.
      normal: N(0, std), as OPT and (there truncated) BERT.
      scaled_normal: the same, the outputs of the residual branches divided by sqrt(2 layers) (Radford et
        al. 2019).
      xavier: Glorot uniform kernels, embeddings N(0, 1/D) (Vaswani et al. 2017, tensor2tensor).
    """
    initial = _initial(config, kind)
    return nnx.Param(initial(rngs.params(), shape, jnp.dtype(config.param_dtype)), out_sharding=axes)


def make_vector(
    config: TransformerConfig, shape: tuple[int, ...], axes: LogicalAxes, *, value: float = 0.0
) -> nnx.Param:
    """Return a bias (``value`` 0) or a norm's scale (1)."""
    return nnx.Param(jnp.full(shape, value, jnp.dtype(config.param_dtype)), out_sharding=axes)


def _initial(config: TransformerConfig, kind: Kind) -> Callable[[jax.Array, tuple[int, ...], Any], jax.Array]:
    if config.initializer in ("normal", "scaled_normal"):
        std = config.initializer_std
        if config.initializer == "scaled_normal" and kind in _RESIDUAL_OUTPUTS:
            std /= math.sqrt(2 * sum(config.layer_counts.values()))
        return nnx.initializers.normal(std)
    if kind == "embedding":
        return nnx.initializers.normal(1.0 if config.initializer == "t5" else config.embed_dim**-0.5)

    scaled = nnx.initializers.variance_scaling
    if config.initializer == "xavier":
        return scaled(1.0, "fan_avg", "uniform")
    if kind == "query" and not config.scale_attention:
        return scaled(1.0 / config.head_dim, "fan_in", "normal")
    return scaled(1.0, "fan_in", "normal" if kind in _T5_NORMAL else "truncated_normal")
