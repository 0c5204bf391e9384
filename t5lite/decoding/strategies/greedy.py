"""The most probable token, each time."""

from dataclasses import dataclass
from typing import ClassVar

import jax

from t5lite.cpu.argmax import argmax
from t5lite.decoding.strategies.tokenwise import Tokenwise, TokenwiseState


def most_probable(logits_BV: jax.Array) -> jax.Array:
    """Return the int32 id of the greatest logit on the last axis."""
    return argmax(logits_BV)


@dataclass(frozen=True, kw_only=True)
class Greedy(Tokenwise):
    """The most probable token at every step."""

    name: ClassVar[str] = "greedy"

    def pick(self, logits_RV: jax.Array, state: TokenwiseState) -> jax.Array:
        """Return the token of the greatest logit."""
        del state
        return most_probable(logits_RV)
