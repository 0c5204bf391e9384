"""The position-wise MLP, plain or gated."""

from collections.abc import Callable
from functools import partial

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5lite.cpu.lone_products import lone
from t5lite.models.config import Activation, MLPKind
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.dropout import dropout
from t5lite.models.layers.making import Making
from t5lite.models.layers.projection import project
from t5lite.models.layers.recompute import recomputed
from t5lite.partitioning.constraints import scatter_from
from t5lite.partitioning.rules import RESIDUAL_AXES, constrain

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
}
"""The nonlinearity; a gated MLP multiplies its result with a second projection."""


class MLP(nnx.Module):
    """f(x W) Wo, or (f(x W0) * (x W1)) Wo where gated (Shazeer 2020)."""

    def __init__(self, kind: MLPKind, embed_dim: int, mlp_dim: int, making: Making):
        shape, axes = (embed_dim, mlp_dim), ("embed", "mlp")
        self.inputs = ("wi",) if kind.num_inputs == 1 else tuple(f"wi_{i}" for i in range(kind.num_inputs))
        for name in self.inputs:
            setattr(self, name, making.kernel("mlp_in", shape, axes))
        self.wo = making.kernel("mlp_out", shape[::-1], axes[::-1])
        self.biases = kind.bias
        if self.biases:
            for name in self.inputs:
                setattr(self, f"{name}_bias", making.vector(shape[1:], axes[1:]))
            self.wo_bias = making.vector(shape[:1], axes[:1], residual=True)
        self.activation: Activation = kind.activation
        self.dropout_rate, self.loops, self.dtype = making.dropout_rate, making.loops, making.dtype

    def __call__(self, x_BLD: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return ``[B, L, D]``; dropout falls on the hidden layer."""
        projected = [self._project(x_BLD, name) for name in self.inputs]
        hidden_BLF = recomputed(self._activate, loops=self.loops)(*projected)
        hidden_BLF = dropout(hidden_BLF, self.dropout_rate, dropout_key)
        y_BLD = project("BLF,FD->BLD", lone(hidden_BLF), self.wo[...].astype(self.dtype))
        if self.biases:
            y_BLD = add_bias(y_BLD, self.wo_bias[...])
        return scatter_from(y_BLD, RESIDUAL_AXES, "mlp")

    def _activate(self, *projected_BLF: jax.Array) -> jax.Array:
        activated_BLF = ACTIVATIONS[self.activation](projected_BLF[0])
        return activated_BLF * projected_BLF[1] if len(projected_BLF) > 1 else activated_BLF

    def _project(self, x_BLD: jax.Array, name: str) -> jax.Array:
        kernel_DF = getattr(self, name)[...].astype(self.dtype)
        hidden_BLF = project("BLD,DF->BLF", x_BLD, kernel_DF)
        if self.biases:
            hidden_BLF = add_bias(hidden_BLF, getattr(self, f"{name}_bias")[...])
        return checkpoint_name(constrain(lone(hidden_BLF), ("batch", "length", "mlp")), "mlp_wi")
