"""The key-value cache of step-by-step decoding."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.models.decoder_only import DecoderOnly
from t5lite.models.encoder_decoder import EncoderDecoder
from t5lite.models.layers.caches import Past


class Read(NamedTuple):
    """What a model makes of the last token of each text that it has read."""

    logits_RV: jax.Array
    """float32, of the next token."""
    hidden_RD: jax.Array
    """What the logits are made of, as wide as the model, in the compute dtype; what nobody asks for is not
    computed."""


class DecodingCache(NamedTuple):
    """All that decoding the next position needs besides the parameters and the previous token.

    But for ``position``, every array has the rows of the batch in front: one row a text, or one row an input
    of which several texts are written that take over from each other what they have (``branched``).
    """

    position: jax.Array
    """int32 scalar: the next position to decode, the same for all rows."""
    past: Past
    """Of the decoder's self-attention, filled before ``position``."""
    memory: dict[str, Any]
    """What else ``decode_step`` of the model is given at every position: of an encoder-decoder the memory of
    its cross-attention, computed once, and the encoder's padding; of a decoder alone, where prompts begin."""
    writers_BLP: jax.Array | None = None
    """int32 ``[B, texts, positions]``: which text of its input computed the keys and values that a text has
    at a position; None where a row is a text. Keys and values stay where they were written."""


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
    model: DecoderOnly,
    prompts_BL: jax.Array,
    *,
    first_B: jax.Array,
    max_decode_length: int,
    chunk_size: int | None = None,
) -> tuple[jax.Array, DecodingCache]:
    """Run the prompts; return their hidden states ``[B, L, D]``, and a cache with room for the rest.

    Args:
      model: a bound module.
      prompts_BL: prompts that all end at the last column, with padding in front.
      first_B: int32 column of each prompt's first token.
      max_decode_length: tokens to come; the last one is never fed back.
      chunk_size: most tokens of a prompt that are read at once; None: all.
    """
    hidden_BLD, past = model.prefill(
        prompts_BL, first_B=first_B, num_more=max_decode_length - 1, chunk_size=chunk_size
    )
    position = jnp.asarray(model.num_virtual_tokens + prompts_BL.shape[1], jnp.int32)
    return hidden_BLD, DecodingCache(position, past, {"first_B": first_B})


def advance(
    model: EncoderDecoder | DecoderOnly, cache: DecodingCache, tokens_B: jax.Array
) -> tuple[Read, DecodingCache]:
    """Feed one input token a text; return what the model makes of it, and the new cache."""
    tokens_BL, writers_BLP = tokens_B[:, None], cache.writers_BLP
    if writers_BLP is not None:
        tokens_BL = tokens_B.reshape(writers_BLP.shape[:2])
        own_BL = jnp.broadcast_to(jnp.arange(tokens_BL.shape[1], dtype=jnp.int32), tokens_BL.shape)
        writers_BLP = jax.lax.dynamic_update_slice_in_dim(writers_BLP, own_BL[..., None], cache.position, 2)
    hidden_BLD, past = model.decode_step(
        tokens_BL, cache.past, position=cache.position, writers_BLP=writers_BLP, **cache.memory
    )
    cache = cache._replace(position=cache.position + 1, past=past, writers_BLP=writers_BLP)
    return read(model, hidden_BLD), cache


def read(model: EncoderDecoder | DecoderOnly, hidden_BLD: jax.Array) -> Read:
    """Return what a model makes of tokens of these hidden states: of each a row."""
    logits_BLV = model.next_logits(hidden_BLD)
    return Read(*(x.reshape(-1, x.shape[-1]) for x in (logits_BLV, hidden_BLD)))


def branched(cache: DecodingCache, num_texts: int, num_positions: int) -> DecodingCache:
    """Return a cache for several texts of each row, which go on from there and can be reordered.

    Inputs are held once. What a text takes over from another is a number, and no copy of keys and values:
    every query meets those of all texts, and the mask hides what is not its own text's.
    """
    past = jax.tree.map(lambda x: jnp.repeat(x, num_texts, axis=2), cache.past)
    num_rows = past[0].keys.shape[0]
    return cache._replace(past=past, writers_BLP=jnp.zeros((num_rows, num_texts, num_positions), jnp.int32))


def reorder(cache: DecodingCache, parents_BL: jax.Array) -> DecodingCache:
    """Return a ``branched`` cache whose text ``i`` has what text ``parents_BL[:, i]`` of its input had."""
    assert cache.writers_BLP is not None, "texts of rows of their own have nothing to exchange"
    return cache._replace(writers_BLP=jnp.take_along_axis(cache.writers_BLP, parents_BL[..., None], axis=1))


def take(cache: DecodingCache, rows_B: jax.Array) -> DecodingCache:
    """Return the cache of the given rows, with their inputs: also several times, to write several texts."""
    return jax.tree.map(lambda x: jnp.take(x, rows_B, axis=0) if x.ndim else x, cache)
