"""RMSNorm and LayerNorm."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import NormKind
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.making import Making
from t5lite.models.layers.recompute import recomputed
from t5lite.models.layers.scale import scale_features


class Norm(nnx.Module):
    """RMSNorm (Zhang & Sennrich 2019: no mean, no bias) or LayerNorm (Ba et al. 2016), as configured.

    Over the last axis, in float32 whatever the input; the result has the compute dtype.
    """

    def __init__(self, kind: NormKind, dim: int, making: Making, *, axis: str = "embed"):
        self.scale = making.vector((dim,), (axis,), value=0.0 if kind.one_plus else 1.0)
        if kind.bias:
            self.bias = making.vector((dim,), (axis,))
        self.centred, self.one_plus, self.epsilon = kind.centred, kind.one_plus, kind.epsilon
        self.loops, self.dtype = making.loops, making.dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return ``[..., D]`` in the compute dtype."""
        bias_D = self.bias[...] if hasattr(self, "bias") else None
        return recomputed(self._normalise, loops=self.loops)(x, self.scale[...], bias_D)

    def _normalise(self, x: jax.Array, scale_D: jax.Array, bias_D: jax.Array | None) -> jax.Array:
        x = x.astype(jnp.float32)
        if self.centred:
            x = x - jnp.mean(x, axis=-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + self.epsilon)
        scale_D = scale_D.astype(jnp.float32)
        y = scale_features(x, 1.0 + scale_D if self.one_plus else scale_D)
        if bias_D is not None:
            y = add_bias(y, bias_D)
        return y.astype(self.dtype)
