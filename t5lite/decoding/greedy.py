"""Greedy search."""

import jax
import jax.numpy as jnp

from t5lite.core.types import EOS_ID, PAD_ID
from t5lite.decoding.cache import DecodingCache, advance, start_cache
from t5lite.models.encoder_decoder import EncoderDecoder

_State = tuple[DecodingCache, jax.Array, jax.Array, jax.Array]


def greedy(
    model: EncoderDecoder,
    encoder_input_tokens_BM: jax.Array,
    *,
    encoder_segment_ids_BM: jax.Array | None = None,
    max_decode_length: int,
) -> jax.Array:
    """Return the most probable token at every step, int32 ``[B, max_decode_length]``.

    A row ends with EOS (1), which is part of the result, and continues with padding (0); a row that
    reaches ``max_decode_length`` has no EOS. The loop stops as soon as all rows have ended. Traceable;
    ``max_decode_length`` is static.

    Args:
      model: a bound module (``FunctionalModel.bind``), used without dropout.
      encoder_input_tokens_BM: int32 ids.
      encoder_segment_ids_BM: 0 marks padding, which is not attended to; None means no padding.
      max_decode_length: length of the result, EOS included.
    """
    cache = start_cache(
        model,
        encoder_input_tokens_BM,
        encoder_segment_ids_BM=encoder_segment_ids_BM,
        max_decode_length=max_decode_length,
    )
    batch_size = encoder_input_tokens_BM.shape[0]
    start_B = jnp.full((batch_size,), PAD_ID, jnp.int32)
    decoded_BL = jnp.full((batch_size, max_decode_length), PAD_ID, jnp.int32)
    ended_B = jnp.zeros((batch_size,), bool)

    def unfinished(state: _State) -> jax.Array:
        cache, _, _, ended_B = state
        return (cache.position < max_decode_length) & ~jnp.all(ended_B)

    def step(state: _State) -> _State:
        cache, previous_B, decoded_BL, ended_B = state
        logits_BV, advanced = advance(model, cache, previous_B)
        token_B = jnp.where(ended_B, PAD_ID, jnp.argmax(logits_BV, axis=-1).astype(jnp.int32))
        decoded_BL = jax.lax.dynamic_update_slice_in_dim(decoded_BL, token_B[:, None], cache.position, axis=1)
        return advanced, token_B, decoded_BL, ended_B | (token_B == EOS_ID)

    return jax.lax.while_loop(unfinished, step, (cache, start_B, decoded_BL, ended_B))[2]
