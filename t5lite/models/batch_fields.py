"""Fields of a batch that a model may do without."""

import jax
import jax.numpy as jnp

from t5lite.core.types import Batch


def optional_field(batch: Batch, name: str) -> jax.Array | None:
    """Return a field as a JAX array, or None where the batch does not have it."""
    return None if name not in batch else jnp.asarray(batch[name])
