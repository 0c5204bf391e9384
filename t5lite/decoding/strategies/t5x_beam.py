"""Beam search by the conventions of T5X."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from t5lite.decoding.strategies.beam_search import Beams, BeamSearch, Group


@dataclass(frozen=True, kw_only=True)
class T5XBeam(BeamSearch):
    """Beam search as T5X has it: with the length penalty of GNMT (Wu et al., 2016).

    Every candidate that ends is compared; what has the greatest length without EOS is returned only where no
    text of an input has ended, and is scored by its summed log probability.
    """

    name: ClassVar[str] = "t5x_beam"

    alpha: float = 0.6
    """Texts are compared by summed log probability over ((5 + length) / 6) to this power."""

    def normalized(self, scores: jax.Array, length: jax.Array | int) -> jax.Array:
        """Return summed log probabilities over the penalty, EOS counted."""
        return scores / ((5.0 + length) / 6.0) ** self.alpha

    def can_improve(self, group: Group, num_decoded: jax.Array, max_decode_length: int) -> jax.Array:
        """Return whether a text that goes on could be better at the greatest length, start token counted."""
        del num_decoded
        best_B = self.normalized(group.running.scores_BK[:, 0], max_decode_length + 1)
        return best_B > group.finished.scores_BK[:, -1]

    def finishing(self, ended_BN: jax.Array, *, is_full: jax.Array) -> jax.Array:
        """Return those that ended."""
        del is_full
        return ended_BN

    def results(self, group: Group) -> Beams:
        """Return finished texts, or where there are none those that go on."""
        has_finished_B = group.finished.scores_BK[:, 0] > -jnp.inf

        def chosen(finished: jax.Array, running: jax.Array) -> jax.Array:
            return jnp.where(has_finished_B.reshape(-1, *[1] * (finished.ndim - 1)), finished, running)

        return jax.tree.map(chosen, group.finished, group.running)
