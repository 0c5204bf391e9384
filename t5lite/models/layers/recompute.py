"""What is so cheap to make again that keeping it for the backward pass never pays."""

from collections.abc import Callable

import jax


def recomputed(function: Callable[..., jax.Array], *, loops: bool) -> Callable[..., jax.Array]:
    """Return a function of which the backward pass keeps the arguments alone, whatever ``remat`` says.

    For elementwise functions and sums over features between matrix products: their intermediate values are
    float32 or several times the arguments' size, and reading them back costs a TPU more than making them
    again. Without remat they would be half of what a step keeps (docs/planning.md).

    Args:
      function: of arrays.
      loops: whether layers run in a loop (``Execution.loops_over_layers``). Where they are unrolled nothing
        is gained, because XLA finds the recomputation to be the same as the forward pass and keeps that.
    """
    return jax.checkpoint(function, prevent_cse=False) if loops else function
