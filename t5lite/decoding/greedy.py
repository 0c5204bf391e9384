"""Greedy search by one call: of an encoder-decoder, and of a decoder alone."""

import jax
import numpy as np

from t5lite.core.types import EOS_ID
from t5lite.decoding.decoder import AnsweringDecoder, ContinuingDecoder
from t5lite.decoding.search import run_search
from t5lite.decoding.strategies import EosIds, Greedy, Search
from t5lite.models.decoder_only import DecoderOnly
from t5lite.models.encoder_decoder import EncoderDecoder


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
    search = Search(max_decode_length=max_decode_length, eos_id=eos_id, known_V=known_V)
    decoder = AnsweringDecoder(model, max_decode_length)
    return run_search(
        decoder, encoder_input_tokens_BM, encoder_segment_ids_BM, strategy=Greedy(), search=search
    ).tokens_RL


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
    search = Search(max_decode_length=max_decode_length, eos_id=eos_id, known_V=known_V)
    decoder = ContinuingDecoder(model, max_decode_length)
    return run_search(decoder, prompts_BL, first_B, strategy=Greedy(), search=search).tokens_RL
