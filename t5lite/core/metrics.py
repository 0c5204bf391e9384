"""Losses and metrics as (sum, weight) pairs.

A mean of means is wrong as soon as microbatches, hosts or packed rows carry different numbers of
tokens. So every loss and metric travels as a float32 sum and the weight it is a sum over, and is
divided exactly once, where it is reported.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

Scalar = jax.Array | float


class WeightedSum(NamedTuple):
    """A float32 ``total`` over ``weight`` units (tokens, examples). Merging is addition."""

    total: Scalar
    weight: Scalar

    def merge(self, other: "WeightedSum") -> "WeightedSum":
        """Return the pair for the union of both sets of units."""
        return WeightedSum(self.total + other.total, self.weight + other.weight)

    def mean(self) -> Scalar:
        """Return ``total / weight``, and 0 where the weight is 0 (an empty batch has no loss)."""
        if isinstance(self.weight, float):
            return self.total / self.weight if self.weight else 0.0
        return self.total / jnp.where(self.weight == 0, 1, self.weight)


def weighted_sum(values: jax.Array, weights: jax.Array) -> WeightedSum:
    """Return the pair of ``values`` under ``weights`` (same shape), accumulated in float32."""
    values, weights = values.astype(jnp.float32), weights.astype(jnp.float32)
    return WeightedSum(jnp.sum(values * weights), jnp.sum(weights))


def row_sums(values_BL: jax.Array, weights_BL: jax.Array) -> WeightedSum:
    """Return the pair of each row, [B], as of ``weighted_sum``."""
    values_BL, weights_BL = values_BL.astype(jnp.float32), weights_BL.astype(jnp.float32)
    return WeightedSum(jnp.sum(values_BL * weights_BL, axis=1), jnp.sum(weights_BL, axis=1))
