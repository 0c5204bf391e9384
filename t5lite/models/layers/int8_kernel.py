"""A kernel of int8, as a layer holds one in the place of a kernel whose weights are read and not trained."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from t5lite.cpu.int8_products import int8_product, whole_product
from t5lite.partitioning.rules import on_one_device, target_platform

_MOST = 127
"""Of the values, on either side of zero."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Int8Kernel:
    """``values scale``, one scale a column: symmetric, the greatest weight of a column is +-127.

    It stands where a kernel's array does, in parameters and in layers. The scale of a column comes out of the
    sum over rows, so a product multiplies what it adds up.
    """

    values_IO: Any
    """int8, ``[inputs, outputs]``; in a stack all have the layers in front."""
    scales_O: Any
    """float32; 0 of a column of zeros."""

    @classmethod
    def of(cls, kernel_IO: jax.Array) -> "Int8Kernel":
        """Return the nearest of a kernel, which must be finite."""
        kernel_IO = kernel_IO.astype(jnp.float32)
        scales_O = jnp.max(jnp.abs(kernel_IO), axis=-2) / _MOST
        steps_IO = kernel_IO / jnp.where(scales_O == 0, 1, scales_O)[..., None, :]
        values_IO = jnp.clip(jnp.round(steps_IO), -_MOST, _MOST).astype(jnp.int8)
        return cls(values_IO, scales_O)

    def __getitem__(self, index: Any) -> "Int8Kernel":
        assert index is ..., "a kernel is read whole"
        return self

    def astype(self, dtype: Any) -> "Int8Kernel":
        """Return it as it is: floats are made of it in a product, in the dtype of the activations."""
        del dtype
        return self

    def product(self, spec: str, x: jax.Array) -> jax.Array:
        """Return ``einsum(spec, x, kernel)`` in float32, such as ``BLD,DF->BLF``."""
        if target_platform() == "cpu" and on_one_device():
            y = int8_product(spec, x, self.values_IO)
        else:
            y = whole_product(spec, x, self.values_IO)
        return y * jnp.expand_dims(self.scales_O, range(y.ndim - 1))
