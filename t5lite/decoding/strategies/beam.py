"""Beam search by the conventions of transformers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from t5lite.decoding.strategies.beam_search import BeamSearch, Group


@dataclass(frozen=True, kw_only=True)
class Beam(BeamSearch):
    """Beam search as transformers' ``generate`` has it, token for token.

    Of the candidates only the ``num_beams`` best can finish; what has the greatest length is finished, too.
    """

    name: ClassVar[str] = "beam"

    length_penalty: float = 1.0
    """Texts are compared by summed log probability over length to this power: above 0 for longer ones."""
    early_stopping: bool | Literal["never"] = False
    """When an input is done: True, with num_beams finished texts; False, if none of the present length could
    be better; "never", if none of any length could."""

    def normalized(self, scores: jax.Array, length: jax.Array | int) -> jax.Array:
        """Return summed log probabilities over a power of the length, EOS included."""
        return scores / jnp.asarray(length, jnp.float32) ** self.length_penalty

    def can_improve(self, group: Group, num_decoded: jax.Array, max_decode_length: int) -> jax.Array:
        """Return whether the best text that goes on could be better than the worst finished one."""
        finished_BK = group.finished.scores_BK
        if self.early_stopping is True:
            return jnp.any(finished_BK == -jnp.inf, axis=1)
        length = num_decoded
        if self.early_stopping == "never" and self.length_penalty > 0:
            length = max_decode_length
        return self.normalized(group.running.scores_BK[:, 0], length) > finished_BK[:, -1]

    def finishing(self, ended_BN: jax.Array, *, is_full: jax.Array) -> jax.Array:
        """Return those of the best that ended, or have the greatest length."""
        return (ended_BN | is_full) & (jnp.arange(ended_BN.shape[1])[None] < self.group_size)
