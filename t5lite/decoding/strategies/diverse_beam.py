"""Diverse beam search."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.decoding.strategies.beam import Beam


@dataclass(frozen=True, kw_only=True)
class DiverseBeam(Beam):
    """Groups of beams that avoid each other's tokens (Vijayakumar et al., 2018), with Hamming diversity.

    At every position the groups choose one after another, each as strategy beam does; a token has the penalty
    once for each beam of an earlier group of its input that has just taken it, unless that group was done
    before. As transformers has had it, scores have the penalties in them, and of the texts that all groups
    finish the best are returned, which need not be different where the penalty is small. Its groups were
    done by the best candidate, also of those that end; here they are by the best that goes on, as in
    strategy beam.

    Raises:
      ConfigError: for a value out of range.
    """

    name: ClassVar[str] = "diverse_beam"

    num_beam_groups: int = 4
    """Groups, of equally many of the num_beams."""
    diversity_penalty: float = 0.5
    """What a token loses of its log probability for each beam of an earlier group that takes it."""

    def __post_init__(self):
        super().__post_init__()
        if self.num_beam_groups < 1 or self.num_beams % self.num_beam_groups:
            raise ConfigError(
                f"num_beam_groups={self.num_beam_groups} must divide num_beams={self.num_beams}; give one of "
                f"{[n for n in range(1, self.num_beams + 1) if self.num_beams % n == 0]}"
            )
        if not 0 <= self.diversity_penalty < float("inf"):
            raise ConfigError(f"diversity_penalty={self.diversity_penalty} must be 0 or more")

    @property
    def num_groups(self) -> int:
        """Groups that choose one after another."""
        return self.num_beam_groups

    def compared(self, log_probs_BKV: jax.Array, taken_BN: jax.Array | None) -> jax.Array:
        """Return log probabilities less the penalties of what is taken."""
        if taken_BN is None:
            return log_probs_BKV
        inputs_B1 = jnp.arange(taken_BN.shape[0])[:, None]
        counts_BV = jnp.zeros_like(log_probs_BKV[:, 0]).at[inputs_B1, taken_BN].add(taken_BN >= 0)
        return log_probs_BKV - self.diversity_penalty * counts_BV[:, None]
