"""The most probable token, each time."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from t5lite.decoding.strategies.tokenwise import Tokenwise, TokenwiseState


def most_probable(logits_BV: jax.Array) -> jax.Array:
    """Return the int32 id of the greatest logit on the last axis."""
    return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)


@dataclass(frozen=True, kw_only=True)
class Greedy(Tokenwise):
    """The most probable token at every step."""

    name: ClassVar[str] = "greedy"

    def pick(self, logits_RV: jax.Array, state: TokenwiseState) -> jax.Array:
        """Return the token of the greatest logit."""
        del state
        return most_probable(logits_RV)
