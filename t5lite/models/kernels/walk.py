"""Which tiles the kernels visit: those that a band of visible keys along the diagonal leaves."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Walk:
    """For every outer tile (of queries or of keys) the inner tiles (of the others) that it meets.

    These are neighbours, and they move on with the outer tile, never back. Positions are inner ones; a
    ``shift`` is the inner position of the first outer one. An inner tile behind the last is possible, and
    then not met.
    """

    outer_size: int
    num_outer: int
    inner_size: int
    num_inner: int
    back: int | None
    """How many positions before its own an outer one meets; None is all."""
    ahead: int | None
    """How many positions after its own."""

    def first(self, outer: Any, shift: Any, *, xp: ModuleType = jnp) -> Any:
        """Return the number of the first inner tile of an outer one."""
        if self.back is None:
            return 0
        start = outer * self.outer_size + shift - self.back
        return _floor_divide(xp.maximum(start, 0), self.inner_size)

    def last(self, outer: Any, shift: Any, *, xp: ModuleType = jnp) -> Any:
        """Return the number of the last inner tile of an outer one; below ``first`` if it meets none."""
        if self.ahead is None:
            return self.num_inner - 1
        end = (outer + 1) * self.outer_size + shift + self.ahead
        begun = _floor_divide(xp.maximum(end + self.inner_size - 1, 0), self.inner_size)
        return xp.minimum(begun, self.num_inner) - 1

    def num_finished(self, outer: Any, shift: Any) -> Any:
        """Return how many inner tiles meet this outer one or an earlier one, and no later one."""
        is_last = outer == self.num_outer - 1
        return jnp.where(is_last, self.num_inner, jnp.minimum(self.first(outer + 1, shift), self.num_inner))

    def is_new(self, inner: Any, outer: Any, shift: Any) -> Any:
        """Return whether an inner tile that meets this outer one has met no earlier one."""
        return (outer == 0) | (inner > self.last(outer - 1, shift))

    def counts(self, shift: int) -> np.ndarray:
        """Return how many inner tiles each outer one meets."""
        outer = np.arange(self.num_outer)
        met = self.last(outer, shift, xp=np) - self.first(outer, shift, xp=np) + 1
        return np.broadcast_to(np.maximum(met, 0), outer.shape)

    def num_steps(self, shift: int | None) -> int:
        """Return how many inner tiles any outer one meets at most, with an unknown shift if it is None."""
        if shift is not None:
            return max(1, int(self.counts(shift).max()))
        if self.back is None or self.ahead is None:
            return self.num_inner
        span = self.outer_size + self.back + self.ahead
        return min(self.num_inner, -(-(span - 1) // self.inner_size) + 1)


def _floor_divide(dividend: Any, divisor: int) -> Any:
    """Return the quotient of what is not negative; for ``//``, Mosaic must know the chip it compiles for."""
    if isinstance(dividend, np.ndarray):
        return dividend // divisor
    return jax.lax.div(dividend, jnp.int32(divisor))
