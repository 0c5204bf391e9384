"""The next token of rows that are each sampled in their own way, by options that are data.

Of a ``Strategy`` the options are static, and every new value compiles anew; here whoever asks may choose.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class RowOptions(NamedTuple):
    """How each row is sampled."""

    temperature_B: jax.Array
    """float32; 0, as what is less than any normal number, takes the most probable token."""
    top_p_B: jax.Array
    """float32: the fewest most probable tokens of that probability together are sampled from; 1 is all."""
    seed_B: jax.Array
    """uint32."""


class Picked(NamedTuple):
    """A token of every row; log-probabilities are the model's own, before temperature and ``top_p``."""

    token_B: jax.Array
    log_prob_B: jax.Array
    top_BK: jax.Array
    """int32 ids of the most probable tokens, the first of them first."""
    top_log_prob_BK: jax.Array


class Needs(NamedTuple):
    """What any of the rows needs; static, so that nothing else is computed."""

    sampling: bool
    top_p: bool
    num_top: int


def pick(logits_BV: jax.Array, options: RowOptions, place: jax.Array, needs: Needs) -> Picked:
    """Return the next token of each row: of its options, its logits and its place alone; traceable.

    Args:
      logits_BV: float32, minus infinity where a token may not be chosen.
      options: of the rows.
      place: int32 scalar, how many tokens each row has.
      needs: of all rows.
    """
    log_probs_BV = jax.nn.log_softmax(logits_BV)
    token_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    if needs.sampling:
        cold_B = options.temperature_B < jnp.finfo(jnp.float32).tiny
        # From the greatest on, which no temperature makes infinite.
        shifted_BV = logits_BV - jnp.max(logits_BV, axis=-1, keepdims=True)
        scaled_BV = shifted_BV / jnp.where(cold_B, 1.0, options.temperature_B)[:, None]
        if needs.top_p:
            scaled_BV = _nucleus(scaled_BV, options.top_p_B)
        token_B = jnp.where(cold_B, token_B, _sampled(scaled_BV, options.seed_B, place))
    top_log_prob_BK, top_BK = jax.lax.top_k(log_probs_BV, needs.num_top)
    log_prob_B = jnp.take_along_axis(log_probs_BV, token_B[:, None], axis=-1)[:, 0]
    return Picked(token_B, log_prob_B, top_BK.astype(jnp.int32), top_log_prob_BK)


def _sampled(logits_BV: jax.Array, seed_B: jax.Array, place: jax.Array) -> jax.Array:
    def sample(logits_V: jax.Array, seed: jax.Array) -> jax.Array:
        return jax.random.categorical(jax.random.fold_in(jax.random.key(seed), place), logits_V)

    return jax.vmap(sample)(logits_BV, seed_B).astype(jnp.int32)


def _nucleus(logits_BV: jax.Array, top_p_B: jax.Array) -> jax.Array:
    """Return the logits with minus infinity outside of the nucleus, which always has a token."""
    sorted_BV = jnp.sort(logits_BV, axis=-1)[:, ::-1]
    before_BV = jnp.cumsum(jax.nn.softmax(sorted_BV), axis=-1) - jax.nn.softmax(sorted_BV)
    kept_BV = (before_BV < top_p_B[:, None]).at[:, 0].set(True)
    least_B = jnp.min(jnp.where(kept_BV, sorted_BV, jnp.inf), axis=-1)
    return jnp.where(logits_BV >= least_B[:, None], logits_BV, -jnp.inf)
