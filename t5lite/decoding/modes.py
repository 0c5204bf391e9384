"""Which way each architecture writes, and what it is asked by whoever does not know the architecture."""

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.decoding.answering import Answering
from t5lite.decoding.continuing import Continuing
from t5lite.decoding.filling import Filling
from t5lite.decoding.mode import DecodingMode, GenerationLengths, TrainedOn, known_rows
from t5lite.decoding.strategies import EosIds, Search
from t5lite.models.config import Architecture, ModelConfig
from t5lite.models.program import Program

DECODING_MODES: dict[Architecture, type[DecodingMode]] = {
    "encoder_decoder": Answering,
    "encoder_only": Filling,
    "decoder_only": Continuing,
}
"""How models of each kind write."""


def decoding_mode(config: ModelConfig) -> type[DecodingMode]:
    """Return how a model of ``config`` writes."""
    return DECODING_MODES[config.architecture]


def generation_lengths(
    config: ModelConfig,
    trained: TrainedOn | None,
    *,
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
    num_ahead: int = 0,
) -> GenerationLengths:
    """Return the lengths to generate with.

    What is not given is as the model was trained: inputs and targets of that length; of a decoder-only model
    of text, a prompt and a continuation that share the length of its rows. Of an imported model, as many as
    it has positions.

    Args:
      config: of the model.
      trained: what it was trained on; None of an imported model.
      encoder_length: what the user wants of inputs.
      max_decode_length: what the user wants of outputs.
      num_ahead: positions that the strategy takes beyond those of greedy search.

    Raises:
      ConfigError: if a given length is not positive.
    """
    for name, length in (("encoder_length", encoder_length), ("max_decode_length", max_decode_length)):
        if length is not None and length < 1:
            raise ConfigError(f"{name}={length} must be 1 or more")
    return decoding_mode(config).lengths(
        config,
        trained,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        num_ahead=num_ahead,
    )


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
    search = Search(max_decode_length=max_decode_length, eos_id=eos_id, known_V=known_rows(config, known_ids))
    return decoding_mode(config).programs(config, search)
