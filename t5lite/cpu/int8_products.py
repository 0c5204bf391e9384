"""Products with a kernel of int8, whose floats XLA:CPU would keep whole, and from loop to loop."""

import jax
import jax.numpy as jnp

_FLOAT_BYTES = 256 * 1024
"""Of the floats that are there at a time: they stay in a core's cache."""


def int8_product(spec: str, x: jax.Array, values_IO: jax.Array) -> jax.Array:
    """Return ``einsum(spec, x, values)`` in float32, some rows of the values at a time.

    XLA:CPU multiplies no int8. Told to convert, it converts all before a loop over positions, which then
    holds four times the bytes. In parts the loop over 8 kernels 512 x 1,024 with 16 rows of activations took
    138 ms of CPU time, whole floats 176.

    Every part reads and writes the result: the floats of one are as many as the result has, where that is
    more, and of a result that is larger than the kernel there is one part.

    Args:
      spec: such as ``BLD,DF->BLF``: the last axis of ``x`` is the first of the kernel.
      x: activations.
      values_IO: int8.
    """
    num_rows, num_columns = values_IO.shape
    most = max(_FLOAT_BYTES // (4 * num_columns), x.size // num_rows, 1)
    if most >= num_rows:
        return whole_product(spec, x, values_IO)
    at_a_time = 1 << (most.bit_length() - 1)
    turns, rest = divmod(num_rows, at_a_time)
    x_axes, y_axes = spec.split("->")[0].split(",")[0], spec.split("->")[1]

    def add(turn: jax.Array, y: jax.Array) -> jax.Array:
        own_x, own_values = (
            jax.lax.dynamic_slice_in_dim(array, turn * at_a_time, at_a_time, axis)
            for array, axis in ((x, x.ndim - 1), (values_IO, 0))
        )
        return y + jnp.einsum(spec, own_x, own_values.astype(x.dtype), preferred_element_type=jnp.float32)

    sizes = dict(zip(x_axes, x.shape, strict=True))
    zeros = jnp.zeros([sizes.get(axis, num_columns) for axis in y_axes], jnp.float32)
    y = jax.lax.fori_loop(0, turns, add, zeros)
    return y + whole_product(spec, x[..., -rest:], values_IO[-rest:]) if rest else y


def whole_product(spec: str, x: jax.Array, values_IO: jax.Array) -> jax.Array:
    """Return the same with all floats at once, which no loop around it holds."""
    # XLA could take the floats out of a loop over positions.
    x, values_IO = jax.lax.optimization_barrier((x, values_IO))
    return jnp.einsum(spec, x, values_IO.astype(x.dtype), preferred_element_type=jnp.float32)
