"""The key-value cache of step-by-step decoding."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.models.decoder_only import DecoderOnly
from t5lite.models.encoder_decoder import EncoderDecoder
from t5lite.models.layers.caches import Past


class DecodingCache(NamedTuple):
    """All that decoding the next position needs besides the parameters and the previous token.

    But for ``position``, every array has the rows of the batch in front.
    """

    position: jax.Array
    """int32 scalar: the next position to decode, the same for all rows."""
    past: Past
    """Of the decoder's self-attention, filled before ``position``."""
    memory: dict[str, Any]
    """What else ``decode_step`` of the model is given at every position: of an encoder-decoder the memory of
    its cross-attention, computed once, and the encoder's padding; of a decoder alone, where prompts begin."""


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
    past = model.start(encoder_input_tokens_BM.shape[0], max_decode_length)
    memory = {"cross": cross, "encoder_segment_ids_BM": encoder_segment_ids_BM}
    return DecodingCache(jnp.zeros((), jnp.int32), past, memory)


def start_prompt_cache(
    model: DecoderOnly, prompts_BL: jax.Array, *, first_B: jax.Array, max_decode_length: int
) -> tuple[jax.Array, DecodingCache]:
    """Run the prompts; return float32 ``logits_BV`` of the next token, and a cache with room for the rest.

    Args:
      model: a bound module.
      prompts_BL: prompts that all end at the last column, with padding in front.
      first_B: int32 column of each prompt's first token.
      max_decode_length: tokens to come; the last one is never fed back.
    """
    logits_BV, past = model.prefill(prompts_BL, first_B=first_B, num_more=max_decode_length - 1)
    position = jnp.asarray(prompts_BL.shape[1], jnp.int32)
    return logits_BV, DecodingCache(position, past, {"first_B": first_B})


def advance(
    model: EncoderDecoder | DecoderOnly, cache: DecodingCache, tokens_B: jax.Array
) -> tuple[jax.Array, DecodingCache]:
    """Feed one decoder input token a row; return float32 ``logits_BV`` of the next one, and the new cache."""
    logits_BV, past = model.decode_step(tokens_B, cache.past, position=cache.position, **cache.memory)
    return logits_BV, cache._replace(position=cache.position + 1, past=past)


def reorder(cache: DecodingCache, rows_B: jax.Array) -> DecodingCache:
    """Return the cache whose row ``i`` has written what ``rows_B[i]`` had, a row of the same input.

    Rows of one input share its memory, which stays where it is.
    """
    return cache._replace(past=_take(cache.past, rows_B))


def take(cache: DecodingCache, rows_B: jax.Array) -> DecodingCache:
    """Return the cache of the given rows, with their inputs: also several times, to write several texts."""
    return cache._replace(past=_take(cache.past, rows_B), memory=_take(cache.memory, rows_B))


def _take(tree: Any, rows_B: jax.Array) -> Any:
    return jax.tree.map(lambda x: jnp.take(x, rows_B, axis=0), tree)
