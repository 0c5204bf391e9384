"""Logits before they are multiplied out: who needs only what a loss needs never holds them all."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from t5lite.core.types import LogicalAxes
from t5lite.models.layers.bias import add_bias
from t5lite.models.layers.projection import project
from t5lite.partitioning.constraints import gather_for, laid_out_by_rules
from t5lite.partitioning.rules import RESIDUAL_AXES, constrain

LOGITS_AXES = ("batch", "length", "vocab")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LogitFactors:
    """``logits_BLV`` as a product of hidden states and a parameter, and maybe a bias."""

    x_BLD: jax.Array
    """In the dtype of the product."""
    kernel: jax.Array
    """``[V, D]`` or ``[D, V]``, as stored."""
    bias_V: jax.Array | None
    kernel_axes: LogicalAxes = field(metadata={"static": True})
    """("vocab", "embed") or ("embed", "vocab")."""
    softcap: float | None = field(default=None, metadata={"static": True})
    """Bound of the logits' size, softcap * tanh(logits / softcap)."""

    @property
    def vocab_size(self) -> int:
        """Number of logits of a token."""
        return self.kernel.shape[self.kernel_axes.index("vocab")]

    def logits(self) -> jax.Array:
        """Return float32 ``logits_BLV``."""
        equation = "BLD,VD->BLV" if self.kernel_axes[0] == "vocab" else "BLD,DV->BLV"
        kernel = laid_out_by_rules(self.kernel.astype(self.x_BLD.dtype), self.kernel_axes)
        logits_BLV = project(equation, self.x_BLD, kernel, dtype=jnp.float32)
        if kernel.shape != self.kernel.shape:
            logits_BLV = logits_BLV[..., : self.vocab_size]
        if self.bias_V is not None:
            logits_BLV = add_bias(logits_BLV, self.bias_V)
        if self.softcap is not None:
            logits_BLV = self.softcap * jnp.tanh(logits_BLV / self.softcap)
        return constrain(logits_BLV, LOGITS_AXES)


def logit_factors(
    x_BLD: jax.Array,
    kernel: jax.Array,
    kernel_axes: LogicalAxes,
    *,
    scale: float,
    dtype: jnp.dtype,
    bias_V: jax.Array | None = None,
    softcap: float | None = None,
) -> LogitFactors:
    """Return the factors of ``scale * x kernel + bias``, maybe capped.

    The logits are sums in float32 of products of ``dtype``. Where that is bfloat16 only the kernel's rounding
    differs from T5X, which multiplies in float32, and on a TPU nothing does: at the default precision its
    matrix unit rounds float32 operands to bfloat16. Rounded first, the kernel is gathered in half the bytes.
    """
    x_BLD = (x_BLD.astype(jnp.float32) * scale).astype(dtype)
    return LogitFactors(gather_for(x_BLD, RESIDUAL_AXES, "vocab"), kernel, bias_V, kernel_axes, softcap)
