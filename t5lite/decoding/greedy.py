"""Greedy search."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.decoding.cache import DecodingCache, advance, start_cache, start_prompt_cache
from t5lite.models.decoder_only import DecoderOnly
from t5lite.models.encoder_decoder import EncoderDecoder

EosIds = int | Sequence[int] | None
"""What ends a row: an id, any of several, or (None) nothing."""


def ids_of_eos(eos_id: EosIds) -> tuple[int, ...]:
    """Return the ids that end a row, none or more."""
    if eos_id is None:
        return ()
    return (eos_id,) if isinstance(eos_id, int) else tuple(eos_id)


def greedy(
    model: EncoderDecoder,
    encoder_input_tokens_BM: jax.Array,
    *,
    encoder_segment_ids_BM: jax.Array | None = None,
    max_decode_length: int,
    eos_id: EosIds = EOS_ID,
    known_V: np.ndarray | None = None,
) -> jax.Array:
    """Return the most probable token at every step, int32 ``[B, max_decode_length]``.

    A row ends with EOS, which is part of the result, and continues with padding (0); a row that
    reaches ``max_decode_length`` has no EOS. The loop stops as soon as all rows have ended. Traceable;
    ``max_decode_length`` is static. The decoder starts with the model's ``start_id``.

    Args:
      model: a bound module (``FunctionalModel.bind``), used without dropout.
      encoder_input_tokens_BM: int32 ids.
      encoder_segment_ids_BM: 0 marks padding, which is not attended to; None means no padding.
      max_decode_length: length of the result, EOS included.
      eos_id: what ends a row; None lets all rows reach ``max_decode_length``.
      known_V: bool, the rows of the table that stand for a token; the others are never chosen. None: all do.

    Raises:
      ConfigError: if inputs or result are longer than a learned position table.
    """
    for length in (encoder_input_tokens_BM.shape[1], max_decode_length):
        model.config.check_length(length)
    cache = start_cache(
        model,
        encoder_input_tokens_BM,
        encoder_segment_ids_BM=encoder_segment_ids_BM,
        max_decode_length=max_decode_length,
    )
    batch_size = encoder_input_tokens_BM.shape[0]
    state = _State(
        cache,
        num_decoded=jnp.zeros((), jnp.int32),
        previous_B=jnp.full((batch_size,), model.config.decoder_start_id, jnp.int32),
        decoded_BL=jnp.full((batch_size, max_decode_length), PAD_ID, jnp.int32),
        ended_B=jnp.zeros((batch_size,), bool),
    )
    return _search(model, state, eos_id, known_V)


def greedy_continuation(
    model: DecoderOnly,
    prompts_BL: jax.Array,
    *,
    first_B: jax.Array,
    max_decode_length: int,
    eos_id: EosIds,
    known_V: np.ndarray | None = None,
) -> jax.Array:
    """Return what a decoder-only model puts after each prompt, int32 ``[B, max_decode_length]``.

    Ends as ``greedy`` does. The result does not depend on the padding in front of a prompt.

    Args:
      model: a bound module, used without dropout.
      prompts_BL: int32 prompts of at least one token that all end at the last column, padding in front.
      first_B: int32 column of each prompt's first token.
      max_decode_length: length of the result, EOS included.
      eos_id: what ends a row; None lets all rows reach ``max_decode_length``.
      known_V: bool, the rows of the table that stand for a token; the others are never chosen. None: all do.

    Raises:
      ConfigError: if prompts and result together are longer than a learned position table.
    """
    model.config.check_length(prompts_BL.shape[1] + max_decode_length - 1)
    logits_BV, cache = start_prompt_cache(
        model, prompts_BL, first_B=first_B, max_decode_length=max_decode_length
    )
    token_B = most_probable(logits_BV, known_V)
    decoded_BL = jnp.full((prompts_BL.shape[0], max_decode_length), PAD_ID, jnp.int32)
    state = _State(
        cache,
        num_decoded=jnp.ones((), jnp.int32),
        previous_B=token_B,
        decoded_BL=decoded_BL.at[:, 0].set(token_B),
        ended_B=_ends(token_B, eos_id),
    )
    return _search(model, state, eos_id, known_V)


def most_probable(logits_BV: jax.Array, known_V: np.ndarray | None) -> jax.Array:
    """Return the int32 id of the greatest logit on the last axis, of those known (``greedy``)."""
    if known_V is not None:
        logits_BV = jnp.where(known_V, logits_BV, -jnp.inf)
    return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)


class _State(NamedTuple):
    cache: DecodingCache
    num_decoded: jax.Array
    previous_B: jax.Array
    """The last token of each row, not yet in the cache."""
    decoded_BL: jax.Array
    ended_B: jax.Array


def _search(
    model: EncoderDecoder | DecoderOnly, state: _State, eos_id: EosIds, known_V: np.ndarray | None
) -> jax.Array:
    """Take the most probable token until all rows have ended or are full; return the rows."""
    max_decode_length = state.decoded_BL.shape[1]

    def unfinished(state: _State) -> jax.Array:
        return (state.num_decoded < max_decode_length) & ~jnp.all(state.ended_B)

    def step(state: _State) -> _State:
        logits_BV, cache = advance(model, state.cache, state.previous_B)
        token_B = jnp.where(state.ended_B, PAD_ID, most_probable(logits_BV, known_V))
        return _State(
            cache,
            num_decoded=state.num_decoded + 1,
            previous_B=token_B,
            decoded_BL=jax.lax.dynamic_update_slice_in_dim(
                state.decoded_BL, token_B[:, None], state.num_decoded, axis=1
            ),
            # Padding may be a token of its own, even EOS: an ended row stays ended.
            ended_B=state.ended_B | _ends(token_B, eos_id),
        )

    return jax.lax.while_loop(unfinished, step, state).decoded_BL


def _ends(token_B: jax.Array, eos_id: EosIds) -> jax.Array:
    return jnp.isin(token_B, jnp.asarray(ids_of_eos(eos_id), jnp.int32))
