"""What the layers of one model are made with: initial values of every kind of parameter, and dtypes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.core.growth import Growth
from t5lite.core.types import LogicalAxes
from t5lite.models.config import (
    Execution,
    Initializer,
    NormalInitializer,
    T5Initializer,
    TransformerConfig,
    XavierInitializer,
)
from t5lite.models.config.initializers import RESIDUAL_OUTPUTS, Kind
from t5lite.models.config.transfer import Growing

Initial = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]

_T5_NORMAL = ("query", "key_value", "attention_out")
_SCALED = nnx.initializers.variance_scaling


@dataclass(frozen=True)
class Making:
    """What a layer is made with; see ``of``."""

    initializer: Initializer
    num_layers: int
    """Of all stacks."""
    dropout_rate: float
    execution: Execution
    rngs: nnx.Rngs
    growing: Growing | None = None
    """How much larger the model is than one whose rates it is trained by; None: it goes by no other."""

    @classmethod
    def of(cls, config: TransformerConfig, execution: Execution, rngs: nnx.Rngs) -> "Making":
        """Return what the layers of a model are made with."""
        num_layers = sum(config.layer_counts.values())
        growing = None if config.transfer is None else config.transfer.growing(config)
        return cls(config.initializer, num_layers, config.dropout_rate, execution, rngs, growing)

    @property
    def dtype(self) -> jnp.dtype:
        """The compute dtype."""
        return jnp.dtype(self.execution.compute_dtype)

    @property
    def loops(self) -> bool:
        """Whether layers run in a loop."""
        return self.execution.loops_over_layers

    def kernel(
        self, kind: Kind, shape: tuple[int, ...], axes: LogicalAxes, *, gain: float = 1.0
    ) -> nnx.Param:
        """Return a kernel ``[inputs, outputs]`` or a table.

        Schemes:
          T5Initializer: as T5X. Embeddings N(0, 1); q ~ N(0, 1/(D K)), which stands in for the division of
            the logits by sqrt(K) (N(0, 1/D) where the logits are divided); k, v ~ N(0, 1/D);
            o ~ N(0, 1/(H K)); the rest truncated normal with variance 1/fan-in. transformers starts an
            untied head as N(0, 1), which hurts pretraining.
          NormalInitializer: N(0, std), as OPT and (there truncated) BERT; maybe the outputs of the residual
            branches divided by sqrt(2 layers) (Radford et al. 2019).
          XavierInitializer: Glorot uniform kernels, embeddings N(0, 1/D) (Vaswani et al. 2017,
            tensor2tensor).

        Args:
          kind: what it is for.
          shape: of the array.
          axes: their logical names.
          gain: factor on the variance that T5 gives it.
        """
        initial = _SCHEMES[type(self.initializer)](self.initializer, self.num_layers, kind, shape, gain)
        dtype = jnp.dtype(self.execution.param_dtype)
        values = initial(self.rngs.params(), shape, dtype)
        if self.growing is None:
            return _parameter(values, axes)
        growth, factor = self.growing.kernel(
            kind, shape, axes, scheme=self.initializer, num_layers=self.num_layers
        )
        return _parameter(values if factor == 1 else (factor * values).astype(dtype), axes, growth)

    def vector(
        self, shape: tuple[int, ...], axes: LogicalAxes, *, value: float = 0.0, residual: bool = False
    ) -> nnx.Param:
        """Return a bias (``value`` 0) or a norm's scale (1); ``residual``: it is added to the stream."""
        filled = jnp.full(shape, value, jnp.dtype(self.execution.param_dtype))
        return _parameter(filled, axes, self.growing and self.growing.bias(residual=residual))


def _parameter(values: jax.Array, axes: LogicalAxes, growth: Growth | None = None) -> nnx.Param:
    metadata: dict[str, Any] = {} if growth is None else {"growth": growth}
    return nnx.Param(values, out_sharding=axes, **metadata)


def _t5(_: T5Initializer, num_layers: int, kind: Kind, shape: tuple[int, ...], gain: float) -> Initial:
    del num_layers, shape
    if kind == "embedding":
        return nnx.initializers.normal(1.0)
    return _SCALED(gain, "fan_in", "normal" if kind in _T5_NORMAL else "truncated_normal")


def _normal(
    scheme: NormalInitializer, num_layers: int, kind: Kind, shape: tuple[int, ...], gain: float
) -> Initial:
    del shape, gain
    std = scheme.std
    if scheme.scaled_outputs and kind in RESIDUAL_OUTPUTS:
        std /= math.sqrt(2 * num_layers)
    return nnx.initializers.truncated_normal(std) if scheme.truncated else nnx.initializers.normal(std)


def _xavier(
    _: XavierInitializer, num_layers: int, kind: Kind, shape: tuple[int, ...], gain: float
) -> Initial:
    del num_layers, gain
    if kind == "embedding":
        return nnx.initializers.normal(shape[-1] ** -0.5)
    return _SCALED(1.0, "fan_avg", "uniform")


_SCHEMES: dict[type[Initializer], Callable[..., Initial]] = {
    T5Initializer: _t5,
    NormalInitializer: _normal,
    XavierInitializer: _xavier,
}
"""How each scheme makes a kernel."""
