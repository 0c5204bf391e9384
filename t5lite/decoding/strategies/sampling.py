"""Tokens drawn at random, as probable as the model says or less adventurous."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.decoding import filters
from t5lite.decoding.strategies.tokenwise import Tokenwise, TokenwiseState


@dataclass(frozen=True, kw_only=True)
class Sampling(Tokenwise):
    """Draw every token: of logits over ``temperature``, and of what the filters keep, one after another.

    What is drawn depends on the seed, on which input of all it is, on the number of the text of that input
    and of the token in it; not on the batch.

    Raises:
      ConfigError: for a value out of range.
    """

    name: ClassVar[str] = "sampling"

    temperature: float = 1.0
    """What logits are divided by; towards 0 only the most probable token is left (strategy greedy)."""
    top_k: int | None = None
    """Draw among so many of the most probable tokens; None: among all."""
    top_p: float = 1.0
    """Draw among the most probable tokens that together have this probability."""
    min_p: float = 0.0
    """Draw among tokens that have at least this share of the most probable one's probability."""
    typical_p: float = 1.0
    """Draw among the tokens of most expectable surprise that together have this probability."""
    seed: int = 0
    """Of what is drawn."""
    num_return_sequences: int = 1
    """Texts for an input."""

    def __post_init__(self):
        if not (least := jnp.finfo(jnp.float32).tiny) <= self.temperature < float("inf"):
            raise ConfigError(
                f"temperature={self.temperature} must be a finite number of at least {least!s}; "
                "strategy greedy draws nothing"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k={self.top_k} must be 1 or more; leave it out to draw among all tokens")
        for field in ("top_p", "typical_p"):
            if not 0 < (value := getattr(self, field)) <= 1:
                raise ConfigError(f"{field}={value} must be above 0 and at most 1, which keeps all tokens")
        if not 0 <= self.min_p <= 1:
            raise ConfigError(f"min_p={self.min_p} must be from 0, which keeps all tokens, to 1")
        if not 0 <= self.seed < 1 << 32:
            raise ConfigError(f"seed={self.seed} must be from 0 to {(1 << 32) - 1:,}")
        if self.num_return_sequences < 1:
            raise ConfigError(f"num_return_sequences={self.num_return_sequences} must be 1 or more")

    @property
    def num_sequences(self) -> int:
        """Texts for an input."""
        return self.num_return_sequences

    def keys(self, indices_B: jax.Array | None, num_rows: int) -> jax.Array:
        """Return a key for each text of each input."""
        if indices_B is None:
            indices_B = jnp.arange(num_rows // self.num_return_sequences)
        texts = jnp.arange(self.num_return_sequences)
        of_inputs_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(self.seed), indices_B)
        each = jax.vmap(jax.random.fold_in, (None, 0))
        return jax.vmap(each, (0, None))(of_inputs_B, texts).reshape(-1)

    def filtered(self, logits_RV: jax.Array) -> jax.Array:
        """Return the logits of what is drawn, minus infinity at what is left out."""
        # From the greatest on, which no temperature makes infinite.
        logits_RV = (logits_RV - jnp.max(logits_RV, axis=-1, keepdims=True)) / self.temperature
        if self.top_k is not None:
            logits_RV = filters.top_k(logits_RV, self.top_k)
        if self.top_p < 1:
            logits_RV = filters.top_p(logits_RV, self.top_p)
        if self.min_p > 0:
            logits_RV = filters.min_p(logits_RV, self.min_p)
        if self.typical_p < 1:
            logits_RV = filters.typical_p(logits_RV, self.typical_p)
        return logits_RV

    def pick(self, logits_RV: jax.Array, state: TokenwiseState) -> jax.Array:
        """Return what is drawn."""
        assert state.keys_R is not None  # begun by this strategy
        keys_R = jax.vmap(jax.random.fold_in, (0, None))(state.keys_R, state.num_decoded)
        return jax.vmap(jax.random.categorical)(keys_R, self.filtered(logits_RV)).astype(jnp.int32)
