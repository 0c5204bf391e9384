"""The position-wise MLP, plain or gated."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.layers.dropout import dropout
from t5lite.partitioning.rules import constrain

_FAN_IN = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


class MLP(nnx.Module):
    """relu(x W) Wo of T5 1.0, or (gelu_tanh(x W0) * (x W1)) Wo of T5 1.1 (Shazeer 2020); no biases."""

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        def kernel(*, rows: int, columns: int, axes: tuple[str, str]) -> nnx.Param:
            value = _FAN_IN(rngs.params(), (rows, columns), jnp.dtype(config.param_dtype))
            return nnx.Param(value, out_sharding=axes)

        self.gated = config.mlp_activation == "gated_gelu"
        self.dropout_rate = config.dropout_rate
        self.dtype = jnp.dtype(config.compute_dtype)
        inner = {"rows": config.embed_dim, "columns": config.mlp_dim, "axes": ("embed", "mlp")}
        if self.gated:
            self.wi_0 = kernel(**inner)
            self.wi_1 = kernel(**inner)
        else:
            self.wi = kernel(**inner)
        self.wo = kernel(rows=config.mlp_dim, columns=config.embed_dim, axes=("mlp", "embed"))

    def __call__(self, x_BLD: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return ``[B, L, D]``; dropout falls on the hidden layer."""

        def project(kernel: nnx.Param) -> jax.Array:
            hidden_BLF = jnp.einsum("BLD,DF->BLF", x_BLD, kernel[...].astype(self.dtype))
            return constrain(hidden_BLF, ("batch", "length", "mlp"))

        if self.gated:
            hidden_BLF = jax.nn.gelu(project(self.wi_0), approximate=True) * project(self.wi_1)
        else:
            hidden_BLF = jax.nn.relu(project(self.wi))
        hidden_BLF = dropout(hidden_BLF, self.dropout_rate, dropout_key)
        return jnp.einsum("BLF,FD->BLD", hidden_BLF, self.wo[...].astype(self.dtype))
