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
    targets_RL: jax.Array,
    lengths_R: jax.Array,
    *,
    known_V: np.ndarray | None = None,
) -> jax.Array:
    """Return the model's log probability of targets' tokens, float32 ``[R, max_decode_length]``; traceable.

    They are those that a search returns for a text that it writes (``Search.log_probs``).

    Args:
      decoder: the model.
      tokens_BM: int32 inputs, as the decoder takes them.
      marks: what tells their padding apart, as the decoder takes it.
      targets_RL: int32 ``[R, max_decode_length]``, with EOS where the end is to be scored; as many of each
        input, one input's after another's, so that it is read once.
      lengths_R: int32, tokens of each target; what is behind them has 0.
      known_V: bool, the rows of the table that stand for a token, as of ``Search``; None: all do.

    Raises:
      ConfigError: if the model has no positions for as much.
    """
    start = decoder.start(tokens_BM, marks).repeated(targets_RL.shape[0] // tokens_BM.shape[0])
    read, cache = start.read, start.cache
    if read is None:
        read, cache = decoder.advance(cache, start.tokens_BP[:, -1])

    def log_prob(logits_RV: jax.Array, token_R: jax.Array) -> jax.Array:
        log_probs_RV = jax.nn.log_softmax(known(logits_RV, known_V))
        return jnp.take_along_axis(log_probs_RV, token_R[:, None], axis=1)[:, 0]

    def step(cache: Any, tokens: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        written_R, next_R = tokens
        read, cache = decoder.advance(cache, written_R)
        return cache, log_prob(read.logits_RV, next_R)

    first_R = log_prob(read.logits_RV, targets_RL[:, 0])
    later_LR = jax.lax.scan(step, cache, (targets_RL[:, :-1].T, targets_RL[:, 1:].T))[1]
    log_probs_RL = jnp.concatenate([first_R[:, None], later_LR.T], axis=1)
    return jnp.where(jnp.arange(targets_RL.shape[1])[None] < lengths_R[:, None], log_probs_RL, 0.0)
