"""How an objective cuts the virtual concatenation of a token store into chunks, and how rows are laid out.

An objective that turns text into inputs and targets makes ``Sides`` of a chunk, and ``lay_out`` the batch
fields of a model::

    encoder-decoder   encoder reads    inputs EOS
                      decoder writes   targets EOS
    decoder-only      one row          inputs EOS targets EOS     loss on targets and their EOS
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from t5lite.core.types import PAD_ID


class ChunkLayout(NamedTuple):
    """Sizes that follow from an objective, the inputs' length and the architecture."""

    tokens: int
    """Tokens of a chunk."""
    stride: int
    """Tokens from the start of a chunk to the start of the next; less than ``tokens`` where they overlap."""
    encoder_length: int
    """M of the batch fields, 0 where there are none of the encoder's."""
    decoder_length: int
    """L of the batch fields, 0 where there are none of the decoder's."""
    start_id: int = PAD_ID
    """In front of the targets that a decoder beside an encoder reads."""


class Sides(NamedTuple):
    """Inputs and targets of a batch of chunks, each with what ends it (EOS)."""

    inputs_BM: np.ndarray
    """int32; 0 behind the end of a row."""
    targets_BL: np.ndarray
    """int32; 0 behind the end of a row."""
    inputs_lengths_B: np.ndarray | None = None
    """Tokens of each row; None where all rows are full."""
    targets_lengths_B: np.ndarray | None = None
    """Tokens of each row; None where all rows are full."""


def largest_that_fits(length_of: Callable[[int], int], length: int) -> int:
    """Return the largest number of raw tokens whose ``length_of`` is at most ``length``; 0 if none is.

    ``length_of`` must not fall; it may grow slower than its argument.
    """
    bound = 1
    while length_of(bound) <= length:
        bound *= 2
    return bisect_right(range(1, bound), length, key=length_of)


def ragged_rows(values_BN: np.ndarray, keep_BN: np.ndarray, *, end_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (int32 [B, N + 1], lengths [B]): the kept values of each row moved together, then ``end_id``."""
    rows, width = values_BN.shape
    counts_B = keep_BN.sum(axis=1)
    packed = np.full((rows, width + 1), PAD_ID, np.int32)
    packed[np.arange(width + 1)[None, :] < counts_B[:, None]] = values_BN[keep_BN]
    packed[np.arange(rows), counts_B] = end_id
    return packed, counts_B + 1


def lay_out(sides: Sides, layout: ChunkLayout) -> dict[str, np.ndarray]:
    """Return the batch fields (``core.types``): of both stacks, or of a decoder alone where M is 0.

    Segment ids are there if rows may end before the layout's lengths. A decoder alone also has
    ``decoder_bidirectional``, 1 on the inputs.
    """
    if layout.encoder_length:
        return _two_sided(sides, layout)
    return _one_row(sides, layout)


def laid_out_fields(layout: ChunkLayout, *, full: bool) -> tuple[str, ...]:
    """Return the names of the fields of ``lay_out``; ``full`` says whether every row is."""
    sides = ("encoder", "decoder") if layout.encoder_length else ("decoder",)
    names = [f"{side}_input_tokens" for side in sides]
    names += ["decoder_target_tokens", "decoder_loss_weights"]
    names += [] if layout.encoder_length else ["decoder_bidirectional"]
    return (*names, *(f"{side}_segment_ids" for side in sides if not full))


def is_full(layout: ChunkLayout, inputs_length: int, targets_length: int) -> bool:
    """Whether inputs and targets of these lengths, the same in every row, leave no padding."""
    if layout.encoder_length:
        return (inputs_length, targets_length) == (layout.encoder_length, layout.decoder_length)
    return inputs_length + targets_length >= layout.decoder_length + 1


def weighted_rows(tokens_BL: np.ndarray, lengths_B: np.ndarray | None) -> np.ndarray:
    """Return float32 [B, L]: 1 on the first ``lengths_B`` positions, everywhere if None."""
    if lengths_B is None:
        return np.ones(tokens_BL.shape, np.float32)
    return (np.arange(tokens_BL.shape[1])[None, :] < lengths_B[:, None]).astype(np.float32)


def _two_sided(sides: Sides, layout: ChunkLayout) -> dict[str, np.ndarray]:
    inputs_BM = _widened(sides.inputs_BM, layout.encoder_length)
    targets_BL = _widened(sides.targets_BL, layout.decoder_length)
    inputs_lengths_B = _lengths(sides.inputs_BM, sides.inputs_lengths_B, layout.encoder_length)
    targets_lengths_B = _lengths(sides.targets_BL, sides.targets_lengths_B, layout.decoder_length)
    weights_BL = weighted_rows(targets_BL, targets_lengths_B)
    shifted_BL = np.empty_like(targets_BL)
    shifted_BL[:, 0] = layout.start_id
    shifted_BL[:, 1:] = targets_BL[:, :-1]
    fields = {
        "encoder_input_tokens": inputs_BM,
        "decoder_input_tokens": shifted_BL,
        "decoder_target_tokens": targets_BL,
        "decoder_loss_weights": weights_BL,
    }
    if inputs_lengths_B is not None or targets_lengths_B is not None:
        shifted_BL[weights_BL == 0] = PAD_ID
        fields["encoder_segment_ids"] = weighted_rows(inputs_BM, inputs_lengths_B).astype(np.int32)
        fields["decoder_segment_ids"] = weights_BL.astype(np.int32)
    return fields


def _one_row(sides: Sides, layout: ChunkLayout) -> dict[str, np.ndarray]:
    (inputs_BM, targets_BL), length = sides[:2], layout.decoder_length
    given_B = _as_lengths(inputs_BM, sides.inputs_lengths_B)
    end_B = given_B + _as_lengths(targets_BL, sides.targets_lengths_B)
    places = np.arange(length + 1)[None, :]
    is_input, is_used = places < given_B[:, None], places < end_B[:, None]
    row = np.full((len(inputs_BM), length + 1), PAD_ID, np.int32)
    row[is_input] = inputs_BM[weighted_rows(inputs_BM, sides.inputs_lengths_B) == 1]
    row[is_used & ~is_input] = targets_BL[weighted_rows(targets_BL, sides.targets_lengths_B) == 1]
    # Position p reads token p and predicts token p + 1.
    predicts = is_used[:, 1:]
    fields = {
        "decoder_input_tokens": np.where(predicts, row[:, :-1], PAD_ID),
        "decoder_target_tokens": np.ascontiguousarray(row[:, 1:]),
        "decoder_loss_weights": (predicts & ~is_input[:, 1:]).astype(np.float32),
        "decoder_bidirectional": is_input[:, :-1].astype(np.int32),
    }
    is_full = sides.inputs_lengths_B is None and sides.targets_lengths_B is None
    if not is_full or inputs_BM.shape[1] + targets_BL.shape[1] < length + 1:
        fields["decoder_segment_ids"] = predicts.astype(np.int32)
    return fields


def _widened(tokens_BL: np.ndarray, length: int) -> np.ndarray:
    """Return rows of ``length``; what is cut off is padding."""
    if tokens_BL.shape[1] == length:
        return tokens_BL
    rows = np.full((len(tokens_BL), length), PAD_ID, np.int32)
    common = min(length, tokens_BL.shape[1])
    rows[:, :common] = tokens_BL[:, :common]
    return rows


def _as_lengths(tokens_BL: np.ndarray, lengths_B: np.ndarray | None) -> np.ndarray:
    return np.full(len(tokens_BL), tokens_BL.shape[1]) if lengths_B is None else lengths_B


def _lengths(tokens_BL: np.ndarray, lengths_B: np.ndarray | None, length: int) -> np.ndarray | None:
    """Return the rows' lengths in rows of ``length``, None where they are full."""
    if lengths_B is None and tokens_BL.shape[1] == length:
        return None
    return _as_lengths(tokens_BL, lengths_B)
