"""Which tokens a draw is among: minus infinity at the others' logits; by transformers' definitions."""

import jax
import jax.numpy as jnp


def top_k(logits_BV: jax.Array, k: int) -> jax.Array:
    """Keep the ``k`` greatest logits, and what equals the last of them."""
    least_B1 = jax.lax.top_k(logits_BV, min(k, logits_BV.shape[-1]))[0][:, -1:]
    return jnp.where(logits_BV < least_B1, -jnp.inf, logits_BV)


def top_p(logits_BV: jax.Array, p: float) -> jax.Array:
    """Keep the most probable tokens, no more than needed for a probability of ``p`` (nucleus sampling)."""
    order_BV = jnp.argsort(logits_BV, axis=-1)
    sorted_BV = jnp.take_along_axis(logits_BV, order_BV, axis=-1)
    # What is left out has 1 - p at most; the most probable one always stays.
    left_out_BV = jnp.cumsum(jax.nn.softmax(sorted_BV), axis=-1) <= 1 - p
    left_out_BV = left_out_BV.at[:, -1].set(False)
    rows_B1 = jnp.arange(logits_BV.shape[0])[:, None]
    return jnp.where(jnp.zeros_like(left_out_BV).at[rows_B1, order_BV].set(left_out_BV), -jnp.inf, logits_BV)


def min_p(logits_BV: jax.Array, p: float) -> jax.Array:
    """Keep what is at least ``p`` times as probable as the most probable token."""
    probability_BV = jax.nn.softmax(logits_BV)
    least_B1 = p * jnp.max(probability_BV, axis=-1, keepdims=True)
    return jnp.where(probability_BV < least_B1, -jnp.inf, logits_BV)


def typical_p(logits_BV: jax.Array, p: float) -> jax.Array:
    """Keep tokens whose surprise is nearest to the expected one, as many as have a probability of ``p``.

    Locally typical sampling (Meister et al., 2022).
    """
    log_prob_BV = jax.nn.log_softmax(logits_BV)
    terms_BV = jnp.where(log_prob_BV == -jnp.inf, 0.0, jnp.exp(log_prob_BV) * log_prob_BV)
    entropy_B1 = -jnp.sum(terms_BV, axis=-1, keepdims=True)
    distance_BV = jnp.abs(-log_prob_BV - entropy_B1)
    order_BV = jnp.argsort(distance_BV, axis=-1)
    sorted_BV = jnp.take_along_axis(distance_BV, order_BV, axis=-1)
    mass_BV = jnp.cumsum(jnp.exp(jnp.take_along_axis(log_prob_BV, order_BV, axis=-1)), axis=-1)
    last_B1 = jnp.minimum(jnp.sum(mass_BV < p, axis=-1, keepdims=True), logits_BV.shape[-1] - 1)
    farthest_B1 = jnp.take_along_axis(sorted_BV, last_B1, axis=-1)
    return jnp.where(distance_BV > farthest_B1, -jnp.inf, logits_BV)
