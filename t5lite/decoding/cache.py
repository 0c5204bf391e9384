"""The key-value cache of step-by-step decoding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5lite.models.encoder_decoder import EncoderDecoder
from t5lite.models.layers.attention import KeyValues


class DecodingCache(NamedTuple):
    """All that decoding the next position needs besides the parameters and the previous token."""

    position: jax.Array
    """int32 scalar: the next position to decode, the same for all rows."""
    past: KeyValues
    """Decoder self-attention, ``[N, B, max_decode_length, H, K]``, filled before ``position``."""
    cross: KeyValues
    """Cross-attention, ``[N, B, M, H, K]``, computed once from the encoder's output."""
    encoder_segment_ids_BM: jax.Array | None
    """0 marks encoder padding; None means there is none."""


def start_cache(
    model: EncoderDecoder,
    encoder_input_tokens_BM: jax.Array,
    *,
    encoder_segment_ids_BM: jax.Array | None = None,
    max_decode_length: int,
) -> DecodingCache:
    """Run the encoder and return a cache at position 0, in the model's compute dtype."""
    encoded_BMD = model.encode(encoder_input_tokens_BM, segment_ids_BM=encoder_segment_ids_BM)
    cross = model.cross_key_values(encoded_BMD)
    num_layers, batch_size, _, num_heads, head_dim = cross.keys.shape
    shape = (num_layers, batch_size, max_decode_length, num_heads, head_dim)
    past = KeyValues(jnp.zeros(shape, cross.keys.dtype), jnp.zeros(shape, cross.values.dtype))
    return DecodingCache(jnp.zeros((), jnp.int32), past, cross, encoder_segment_ids_BM)


def advance(
    model: EncoderDecoder, cache: DecodingCache, tokens_B: jax.Array
) -> tuple[jax.Array, DecodingCache]:
    """Feed one decoder input token a row; return float32 ``logits_BV`` of the next one, and the new cache."""
    logits_BV, past = model.decode_step(
        tokens_B,
        cache.past,
        cache.cross,
        position=cache.position,
        encoder_segment_ids_BM=cache.encoder_segment_ids_BM,
    )
    return logits_BV, cache._replace(position=cache.position + 1, past=past)
