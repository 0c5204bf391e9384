"""How probable a model finds given texts, by the steps by which it would write them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.decoding.decoder import Decoder
from t5lite.decoding.strategies import known


def score_targets(
    decoder: Decoder[Any],
    tokens_BM: jax.Array,
    marks: jax.Array | None,
    targets_BL: jax.Array,
    lengths_B: jax.Array,
    *,
    known_V: np.ndarray | None = None,
) -> jax.Array:
    """Return the model's log probability of targets' tokens, float32 ``[B, max_decode_length]``; traceable.

    They are those that a search returns for a text that it writes (``Search.log_probs``).

    Args:
      decoder: the model.
      tokens_BM: int32 inputs, as the decoder takes them.
      marks: what tells their padding apart, as the decoder takes it.
      targets_BL: int32 ``[B, max_decode_length]``, with EOS where the end is to be scored.
      lengths_B: int32, tokens of each target; what is behind them has 0.
      known_V: bool, the rows of the table that stand for a token, as of ``Search``; None: all do.

    Raises:
      ConfigError: if the model has no positions for as much.
    """
    start = decoder.start(tokens_BM, marks)
    read, cache = start.read, start.cache
    if read is None:
        read, cache = decoder.advance(cache, start.tokens_BP[:, -1])

    def log_prob(logits_BV: jax.Array, token_B: jax.Array) -> jax.Array:
        log_probs_BV = jax.nn.log_softmax(known(logits_BV, known_V))
        return jnp.take_along_axis(log_probs_BV, token_B[:, None], axis=1)[:, 0]

    def step(cache: Any, tokens: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        written_B, next_B = tokens
        read, cache = decoder.advance(cache, written_B)
        return cache, log_prob(read.logits_RV, next_B)

    first_B = log_prob(read.logits_RV, targets_BL[:, 0])
    later_LB = jax.lax.scan(step, cache, (targets_BL[:, :-1].T, targets_BL[:, 1:].T))[1]
    log_probs_BL = jnp.concatenate([first_B[:, None], later_LB.T], axis=1)
    return jnp.where(jnp.arange(targets_BL.shape[1])[None] < lengths_B[:, None], log_probs_BL, 0.0)
