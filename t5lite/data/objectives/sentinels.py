"""Spans of text behind sentinels, as ``t5.data.preprocessors`` puts them.

raw      a b c d e f        mask of b c, e f
inputs   a <0> d <1>        every masked span becomes a sentinel (``noise_span_to_unique_sentinel``)
targets  <0> b c <1> e f    every kept span becomes one (``nonnoise_span_to_unique_sentinel``)
"""

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import EOS_ID
from t5lite.data.objectives.layout import Sides, ragged_rows
from t5lite.data.vocabulary import Vocabulary


def check_sentinels(num_sentinels: int, vocabulary: Vocabulary, inputs_length: int) -> None:
    """Check that a vocabulary has so many sentinels.

    Raises:
      ConfigError: if it has fewer; T5 would go on into ordinary pieces.
    """
    if num_sentinels > vocabulary.extra_ids:
        raise ConfigError(
            f"inputs_length={inputs_length} with this objective uses {num_sentinels} sentinels, "
            f"the vocabulary has extra_ids={vocabulary.extra_ids}; prepare the text with more, or "
            "use shorter inputs, less noise or longer spans"
        )


def replace_spans(
    tokens_BN: np.ndarray, keep_BN: np.ndarray, starts: np.ndarray, sentinels: np.ndarray, *, eos_id: int
) -> np.ndarray:
    """Return int32 [B, M]: the kept tokens, a sentinel for each span that is not, and EOS.

    Args:
      tokens_BN: raw tokens.
      keep_BN: false in the spans that are replaced; changed in place.
      starts: where these begin, as places in ``tokens_BN.ravel()``; as many in every row.
      sentinels: int32, one for each.
      eos_id: ends every row.
    """
    rows = len(tokens_BN)
    marked_BN = tokens_BN.astype(np.int32)
    marked_BN.ravel()[starts] = sentinels
    keep_BN.ravel()[starts] = True
    kept = marked_BN[keep_BN].reshape(rows, -1)
    ended_BM = np.empty((rows, kept.shape[1] + 1), np.int32)
    ended_BM[:, :-1] = kept
    ended_BM[:, -1] = eos_id
    return ended_BM


def corrupt(
    tokens_BN: np.ndarray, mask_BN: np.ndarray, *, sentinel_ids: np.ndarray, eos_id: int = EOS_ID
) -> Sides:
    """Return inputs and targets for any mask; span ``i`` is the sentinel ``i``, EOS ends every row."""
    sides = (
        ragged_rows(*_marked(tokens_BN, hidden_BN, sentinel_ids), end_id=eos_id)
        for hidden_BN in (mask_BN, ~mask_BN)
    )
    (inputs_BM, inputs_lengths_B), (targets_BL, targets_lengths_B) = sides
    return Sides(inputs_BM, targets_BL, inputs_lengths_B, targets_lengths_B)


def _marked(
    tokens_BN: np.ndarray, hidden_BN: np.ndarray, sentinel_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens with sentinels where hidden spans start, and which of them stay."""
    starts_BN = np.diff(hidden_BN, axis=1, prepend=False) & hidden_BN
    marked_BN = tokens_BN.astype(np.int32)
    marked_BN[starts_BN] = sentinel_ids[np.cumsum(starts_BN, axis=1, dtype=np.int32)[starts_BN] - 1]
    return marked_BN, ~hidden_BN | starts_BN
