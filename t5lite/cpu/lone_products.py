"""Products of one position, which are faster when XLA:CPU's library does not make one program of several."""

import jax
import jax.numpy as jnp

from t5lite.partitioning.rules import target_platform


def lone(x_BLF: jax.Array) -> jax.Array:
    """Return ``x_BLF``; of one position on a CPU, the products on both sides of it stay apart.

    A gated MLP as one program runs its products in turn, each on all cores. Of few rows that is a sixth more
    CPU time (16 rows, 512 and 1,024 columns) than each on one core, two side by side. The library takes no
    comparison in; this one is true of every number, and what is no number stays none.
    """
    if x_BLF.shape[1] != 1 or target_platform() != "cpu":
        return x_BLF
    return jnp.where(x_BLF == x_BLF, x_BLF, x_BLF + 1)
