"""The product of activations with a kernel: what most of a step's time goes into."""

from typing import Any

import jax
import jax.numpy as jnp

from t5lite.partitioning.rules import on_one_device


def project(spec: str, x: jax.Array, kernel: jax.Array, *, dtype: Any = None) -> jax.Array:
    """Return ``einsum(spec, x, kernel)``, such as ``BLD,DF->BLF``, in the dtype of its operands or ``dtype``.

    The gradients are the products that one would write by hand. JAX's own gradient of the kernel comes out
    transposed, and XLA:CPU copies a cotangent of several dimensions into another layout for it: with that
    both gradients took 1.7 to 3 times as long (2,048 x 128 x 256 to 912 x 512 x 32,128).

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


def _forward(
    spec: str, dtype: Any, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _einsum(spec, dtype, x, kernel), (x, kernel)


def _backward(
    spec: str, _: Any, operands: tuple[jax.Array, jax.Array], y_bar: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = operands
    y_bar = y_bar.astype(x.dtype)
    inputs, y_axes = spec.split("->")
    x_axes, kernel_axes = inputs.split(",")
    x_bar = jnp.einsum(f"{y_axes},{kernel_axes}->{x_axes}", y_bar, kernel)
    if on_one_device():  # of several, each may hold a part of the batch and a part of the length
        (x_axes, x), (y_axes, y_bar) = _in_rows(x_axes, x, kernel_axes), _in_rows(y_axes, y_bar, kernel_axes)
    if kernel_axes[0] in x_axes:
        return x_bar, jnp.einsum(f"{x_axes},{y_axes}->{kernel_axes}", x, y_bar)
    return x_bar, jnp.einsum(f"{y_axes},{x_axes}->{kernel_axes}", y_bar, x)


def _in_rows(axes: str, x: jax.Array, kernel_axes: str) -> tuple[str, jax.Array]:
    """Return ``x`` with the axes that the kernel does not have, its first ones, made one (R)."""
    own = "".join(axis for axis in axes if axis in kernel_axes)
    return f"R{own}", x.reshape(-1, *x.shape[len(axes) - len(own) :])


_project: Any = jax.custom_vjp(_einsum, nondiff_argnums=(0, 1))
_project.defvjp(_forward, _backward)
