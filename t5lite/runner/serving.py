"""The decoding programs of an export for serving: interop and decoding do not know each other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.types import Batch
from t5lite.decoding import EosIds, greedy, greedy_continuation
from t5lite.interop.stablehlo import Program
from t5lite.models.config import ModelConfig


def decoding_programs(
    config: ModelConfig, *, max_decode_length: int, eos_id: EosIds, known_ids: np.ndarray | None = None
) -> dict[str, Program]:
    """Return ``greedy``, whose output ``tokens`` is ``[batch, max_decode_length]``; an encoder has none.

    An encoder-decoder takes encoder inputs. A decoder-only model takes prompts with their padding in front,
    0 in ``decoder_segment_ids``, and returns what follows them.

    Args:
      config: the model.
      max_decode_length: tokens generated at most, EOS included.
      eos_id: what ends a row; None lets all reach the end.
      known_ids: bool, of each id of the vocabulary whether there is such a token; others are never chosen.

    Raises:
      ConfigError: if the model has no positions for that many tokens.
    """
    config.check_length(max_decode_length)
    known_V = None
    if known_ids is not None:
        known_V = np.pad(known_ids, (0, config.vocab_size - len(known_ids)))

    def answer(module: Any, batch: Batch) -> dict[str, jax.Array]:
        tokens_BL = greedy(
            module,
            jnp.asarray(batch["encoder_input_tokens"]),
            encoder_segment_ids_BM=jnp.asarray(batch["encoder_segment_ids"]),
            max_decode_length=max_decode_length,
            eos_id=eos_id,
            known_V=known_V,
        )
        return {"tokens": tokens_BL}

    def continuation(module: Any, batch: Batch) -> dict[str, jax.Array]:
        padding_BL = jnp.asarray(batch["decoder_segment_ids"]) == 0
        tokens_BL = greedy_continuation(
            module,
            jnp.asarray(batch["decoder_input_tokens"]),
            first_B=jnp.sum(padding_BL, axis=1, dtype=jnp.int32),
            max_decode_length=max_decode_length,
            eos_id=eos_id,
            known_V=known_V,
        )
        return {"tokens": tokens_BL}

    if config.architecture == "encoder_decoder":
        return {"greedy": Program(run=answer, fields=("encoder_input_tokens", "encoder_segment_ids"))}
    if config.architecture == "decoder_only":
        fields = ("decoder_input_tokens", "decoder_segment_ids")
        return {"greedy": Program(run=continuation, fields=fields, added_length=max_decode_length - 1)}
    return {}
