"""Long sums that keep their digits."""

import jax
import jax.numpy as jnp


def sum_of_squares(x: jax.Array, dims: tuple[int, ...]) -> jax.Array:
    """Return the float32 sum over ``dims``, kept broadcastable to ``x``.

    On CPU over one dimension after the other: t5lite has XLA:CPU add numbers one by one (``cpu.flags``), and
    a sum of 16 million is off by a thousandth then. The barrier keeps XLA from making one loop of them.
    """

    def stepwise(x: jax.Array) -> jax.Array:
        for dim in reversed(dims):
            x = jax.lax.optimization_barrier(jnp.sum(x, axis=dim, keepdims=True))
        return x

    def at_once(x: jax.Array) -> jax.Array:
        return jnp.sum(x, axis=dims, keepdims=True)

    return jax.lax.platform_dependent(jnp.square(x.astype(jnp.float32)), cpu=stepwise, default=at_once)
