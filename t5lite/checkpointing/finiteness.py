"""Whether arrays hold NaN or infinity: what no checkpoint may, for nobody could go on from it.

Like fingerprints it is found on the devices, shard by shard, in one pass over the memory: a boolean an array
is all that reaches the host.
"""

import jax
import jax.numpy as jnp

from t5lite.checkpointing.reading import leaf_names
from t5lite.core.types import Tree


def nonfinite_leaves(tree: Tree) -> list[str]:
    """Return the dotted names of the arrays that hold a number that is not finite; waits for the arrays."""
    found = jax.device_get(_all_finite(tree))
    pairs = zip(leaf_names(found), jax.tree.leaves(found), strict=True)
    return [name for name, is_finite in pairs if not is_finite]


@jax.jit
def _all_finite(tree: Tree) -> Tree:
    return jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), tree)
