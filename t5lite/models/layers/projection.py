"""The product of activations with a kernel: what most of a step's time goes into."""

from typing import Any

import jax
import jax.numpy as jnp

from t5lite.cpu import gradients


def project(spec: str, x: jax.Array, kernel: jax.Array, *, dtype: Any = None) -> jax.Array:
    """Return ``einsum(spec, x, kernel)``, such as ``BLD,DF->BLF``, in the dtype of its operands or ``dtype``.

    Args:
      spec: two operands; each letter of the kernel stands in ``x`` or in the result, not in both, after the
        letters that those two share.
      x: activations.
      kernel: a parameter, in the compute dtype.
      dtype: of the result, where not that of the operands; the gradient is rounded to the operands'.
    """
    return _project(spec, jnp.dtype(dtype or x.dtype), x, kernel)


def _einsum(spec: str, dtype: Any, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.einsum(spec, x, kernel, preferred_element_type=dtype)


_project: Any = jax.custom_vjp(_einsum, nondiff_argnums=(0, 1))
_project.defvjp(
    lambda spec, dtype, x, kernel: (_einsum(spec, dtype, x, kernel), (x, kernel)), gradients.of_projection
)
