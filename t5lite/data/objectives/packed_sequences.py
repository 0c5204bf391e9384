"""Rows of several sequences: each document's piece is one, with a frame and a segment of its own.

    stream      … hath been . [SEP] [CLS] And God said [SEP] [CLS] Let there be | light …
    row         [CLS] hath been . [SEP] [CLS] And God said [SEP] [CLS] Let there be [SEP]
    segments    1     1    1    1 1     2     2   2   2    2     3     3   3     3  3

A chunk that begins or ends within a document gets the [CLS] or [SEP] that it lacks. One that does not leaves
that place empty, and one that begins with the [SEP] of a document that is over, or ends with the [CLS] of one
that it has nothing of, leaves this out as well. So a row has a rest of 4 positions at most, and is found
without a plan of what goes where.
"""

from typing import NamedTuple

import numpy as np

from t5lite.data.vocabulary.special_tokens import SpecialTokens

LEAST_TOKENS = 3
"""Tokens of a chunk that surely has one of a document: two stand between documents."""


class PackedSequences(NamedTuple):
    """Where the sequences of chunks stand, in a frame of one position more on both sides of a chunk."""

    order_BL: np.ndarray
    """int64; the position in the frame of what each position of the row has."""
    segment_ids_BL: np.ndarray
    """int32; 1, 2, … for each sequence, 0 in the rest."""

    @classmethod
    def of(cls, tokens_BN: np.ndarray, special: SpecialTokens) -> "PackedSequences":
        """Return the sequences of chunks of documents with [SEP] and [CLS] between them."""
        inside_BL = np.ones((len(tokens_BN), tokens_BN.shape[1] + 2), bool)
        first_B, last_B = tokens_BN[:, 0], tokens_BN[:, -1]
        inside_BL[:, 0] = (first_B != special.cls) & (first_B != special.sep)
        inside_BL[:, 1] = first_B != special.sep
        inside_BL[:, -2] = last_B != special.cls
        inside_BL[:, -1] = (last_B != special.cls) & (last_B != special.sep)
        begins_BL = np.pad(tokens_BN == special.cls, ((0, 0), (1, 1)))
        begins_BL[:, 0] = True
        order_BL = np.argsort(~inside_BL, axis=1, kind="stable")
        segment_ids_BL = np.take_along_axis(np.cumsum(begins_BL & inside_BL, axis=1), order_BL, axis=1)
        segment_ids_BL[~np.take_along_axis(inside_BL, order_BL, axis=1)] = 0
        return cls(order_BL, segment_ids_BL.astype(np.int32))

    def moved(self, framed_BL: np.ndarray) -> np.ndarray:
        """Return rows of what the frame has, each sequence behind the one before; 0 in the rest."""
        return np.where(self.segment_ids_BL > 0, np.take_along_axis(framed_BL, self.order_BL, axis=1), 0)
