"""Attention's products, by head, in the form in which XLA:CPU's library computes them fastest, both ways."""

from typing import Any

import jax
import jax.numpy as jnp


def head_product(spec: str, dtype: Any, x: jax.Array, keys: jax.Array) -> jax.Array:
    """Return ``einsum(spec, x, keys)`` in ``dtype``; it has no forward-mode derivative.

    Args:
      spec: ``BLHK,BMHK->BHLM`` or ``BHLM,BMHK->BLHK``, or the same with G and S in H's place and G alone in
        keys: M counts keys, K the columns of a head.
      dtype: of the result.
      x: queries, or weights.
      keys: or values.
    """
    return _by_hand(spec, dtype, x, keys)


def _product(spec: str, dtype: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the einsum as a product of matrices: ``x`` on the left, its rows in front of its columns."""
    inputs, out_axes = spec.split("->")
    x_axes, y_axes = inputs.split(",")
    shared = "".join(axis for axis in x_axes if axis in y_axes and axis in out_axes)
    rows = "".join(axis for axis in x_axes if axis not in y_axes)
    columns = "".join(axis for axis in y_axes if axis not in x_axes)
    result = f"{shared}{rows}{columns}"
    product = jnp.einsum(f"{inputs}->{result}", x, y, preferred_element_type=dtype)
    return jnp.einsum(f"{result}->{out_axes}", product)


def _gradients(
    spec: str, dtype: Any, operands: tuple[jax.Array, jax.Array], y_bar: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of both operands.

    That of keys or values adds up over queries. XLA's library for products takes no left operand that is
    added up along its columns, and a product of XLA's own that does takes 2.6 times as long (8 x 6 heads of
    64, 512 x 512). So the array of all pairs stands on the right, and of the other operand, which is small,
    a copy is made whose rows are added up; the barrier keeps XLA from making one of copy and product.

    Operands are widened to the result's dtype, as in the gradient of an einsum: a gradient of logits adds up
    to 0 over keys, and rounded to bfloat16 it would not any more, which times their mean is an error.
    """
    x, keys = operands
    x_dtype, keys_dtype, dtype = x.dtype, keys.dtype, jnp.result_type(dtype, *operands)
    x, keys, y_bar = (each.astype(dtype) for each in (x, keys, y_bar))
    inputs, y_axes = spec.split("->")
    x_axes, keys_axes = inputs.split(",")
    x_bar = _product(f"{y_axes},{keys_axes}->{x_axes}", dtype, y_bar, keys)
    queries_axes, queries, pairs_axes, pairs = x_axes, x, y_axes, y_bar
    if "M" in x_axes:
        queries_axes, queries, pairs_axes, pairs = y_axes, y_bar, x_axes, x
    shared = "".join(axis for axis in keys_axes if axis in pairs_axes and axis != "M")
    summed = "".join(axis for axis in pairs_axes if axis not in keys_axes)
    turned_axes = f"{shared}K{summed}"
    turned = jax.lax.optimization_barrier(jnp.einsum(f"{queries_axes}->{turned_axes}", queries))
    keys_bar = _product(f"{turned_axes},{pairs_axes}->{keys_axes}", dtype, turned, pairs)
    return x_bar.astype(x_dtype), keys_bar.astype(keys_dtype)


_by_hand: Any = jax.custom_vjp(_product, nondiff_argnums=(0, 1))
_by_hand.defvjp(lambda spec, dtype, x, keys: (_product(spec, dtype, x, keys), (x, keys)), _gradients)
