"""Backward passes by hand, for ``jax.custom_vjp``: where those that JAX derives are slow on XLA:CPU."""

from typing import Any

import jax
import jax.numpy as jnp

from t5lite.partitioning.rules import on_one_device, target_platform


def of_projection(
    spec: str, _: Any, operands: tuple[jax.Array, jax.Array], y_bar: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of ``x`` and ``kernel``: the products that one would write by hand.

    JAX's own gradient of the kernel comes out transposed, and XLA:CPU copies a cotangent of several
    dimensions into another layout for it: with that both gradients took 1.7 to 3 times as long (2,048 x 128
    x 256 to 912 x 512 x 32,128).
    """
    x, kernel = operands
    y_bar = y_bar.astype(x.dtype)
    inputs, y_axes = spec.split("->")
    x_axes, kernel_axes = inputs.split(",")
    x_bar = jnp.einsum(f"{y_axes},{kernel_axes}->{x_axes}", y_bar, kernel)
    if on_one_device():  # of several, each may hold a part of the batch and a part of the length
        (x_axes, x), (y_axes, y_bar) = _in_rows(x_axes, x, kernel_axes), _in_rows(y_axes, y_bar, kernel_axes)
    if kernel_axes[0] in x_axes:
        return x_bar, _sum_over_rows(f"{x_axes},{y_axes}->{kernel_axes}", x, y_bar)
    return x_bar, _sum_over_rows(f"{y_axes},{x_axes}->{kernel_axes}", y_bar, x)


def of_bias(bias_N: jax.Array, y_bar: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of ``x`` and ``bias``, the latter summed in float32.

    XLA:CPU sums rows column by column, one element of each at a time: a fifth of a BERT step. There it is a
    product with ones.
    """
    rows = "BLMH"[: y_bar.ndim - 1]
    if target_platform() == "cpu":
        ones = jnp.ones(y_bar.shape[:-1], y_bar.dtype)
        sum_N = jnp.einsum(f"{rows},{rows}N->N", ones, y_bar, preferred_element_type=jnp.float32)
    else:
        sum_N = jnp.sum(y_bar, axis=tuple(range(y_bar.ndim - 1)), dtype=jnp.float32)
    return y_bar, sum_N.astype(bias_N.dtype)


def of_scale(operands: tuple[jax.Array, jax.Array], y_bar: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of ``x`` and ``scale``, the latter as a product with ones (see ``of_bias``).

    Summed row by row it would be a twentieth of a T5 small step on a CPU.
    """
    x, scale_D = operands
    rows, ones = "BLMH"[: x.ndim - 1], jnp.ones(x.shape[:-1], x.dtype)
    scale_bar_D = jnp.einsum(f"{rows},{rows}D->D", ones, y_bar * x, precision=jax.lax.Precision.HIGHEST)
    return y_bar * jnp.expand_dims(scale_D, range(x.ndim - 1)), scale_bar_D


def _sum_over_rows(spec: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the einsum, a product that adds up the rows of both.

    XLA:CPU's takes 12 to 20 % longer with the wider operand on the left (4,096 x 1,024 and 512, 512 and 384,
    3,072 and 768, turning the result round included, which more rows than columns make up for). The barrier
    keeps XLA from turning the operands back instead.
    """
    inputs, out_axes = spec.split("->")
    x_axes, y_axes = inputs.split(",")
    are_matrices = x.ndim == y.ndim == 2 and on_one_device() and target_platform() == "cpu"
    if not are_matrices or not x.shape[0] > x.shape[1] > y.shape[1]:
        return jnp.einsum(spec, x, y)
    return jax.lax.optimization_barrier(jnp.einsum(f"{y_axes},{x_axes}->{out_axes[::-1]}", y, x)).T


def _in_rows(axes: str, x: jax.Array, kernel_axes: str) -> tuple[str, jax.Array]:
    """Return ``x`` with the axes that the kernel does not have, its first ones, made one (R)."""
    own = "".join(axis for axis in axes if axis in kernel_axes)
    return f"R{own}", x.reshape(-1, *x.shape[len(axes) - len(own) :])
