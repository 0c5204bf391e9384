"""The product of activations with a kernel: what most of a step's time goes into."""

from typing import Any

import jax
import jax.numpy as jnp

from t5lite.cpu import gradients
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.models.layers.low_rank import LowRankKernel


def project(
    spec: str, x: jax.Array, kernel: jax.Array | LowRankKernel | Int8Kernel, *, dtype: Any = None
) -> jax.Array:
    """Return ``einsum(spec, x, kernel)``, such as ``BLD,DF->BLF``, in the dtype of its operands or ``dtype``.

    Args:
      spec: two operands; each letter of the kernel stands in ``x`` or in the result, not in both, after the
        letters that those two share.
      x: activations.
      kernel: a parameter, in the compute dtype; one with a low-rank update or of int8 has its inputs in
        front.
      dtype: of the result, where not that of the operands; the gradient is rounded to the operands'.
    """
    dtype = jnp.dtype(dtype or x.dtype)
    if isinstance(kernel, Int8Kernel):
        return kernel.product(spec, x).astype(dtype)
    if not isinstance(kernel, LowRankKernel):
        return _project(spec, dtype, x, kernel)
    (x_axes, (inputs, outputs)), y_axes = spec.split("->")[0].split(","), spec.split("->")[1]
    low_axes = x_axes.replace(inputs, "r")
    low = _project(f"{x_axes},{inputs}r->{low_axes}", dtype, kernel.dropped(x), kernel.a_IR)
    update = _project(f"{low_axes},r{outputs}->{y_axes}", dtype, low, kernel.b_RO)
    return _project(spec, dtype, x, kernel.kernel_IO) + kernel.scale * update


def _einsum(spec: str, dtype: Any, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.einsum(spec, x, kernel, preferred_element_type=dtype)


_project: Any = jax.custom_vjp(_einsum, nondiff_argnums=(0, 1))
_project.defvjp(
    lambda spec, dtype, x, kernel: (_einsum(spec, dtype, x, kernel), (x, kernel)), gradients.of_projection
)
