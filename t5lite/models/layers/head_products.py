"""The two products of attention: of queries with keys, and of weights with values."""

from typing import Any

import jax
import jax.numpy as jnp

from t5lite.cpu.head_products import head_product
from t5lite.partitioning.rules import target_platform


def product_by_head(spec: str, x: jax.Array, keys: jax.Array, *, dtype: Any = None) -> jax.Array:
    """Return ``einsum(spec, x, keys)``, such as ``BLHK,BMHK->BHLM`` or ``BHLM,BMHK->BLHK``.

    On a CPU it has no forward-mode derivative (``jax.jvp``): its gradient is written by hand.

    Args:
      spec: of queries or weights and of keys or values, where M counts the keys and K the columns of a head.
      x: queries, or weights.
      keys: or values.
      dtype: of the result, where not that of the operands.
    """
    dtype = jnp.dtype(dtype or keys.dtype)
    if target_platform() == "cpu":
        return head_product(spec, dtype, x, keys)
    return jnp.einsum(spec, x, keys, preferred_element_type=dtype)
