"""Packing plans: which examples share a row, computed once from their lengths.

A plan is a pure function of the lengths, so a packed row can be fetched by its number like any example, and
neither workers nor hosts change what is packed with what.
"""

from dataclasses import dataclass

import numpy as np

_BLOCK = 2048
"""Examples packed together; a block's rows are all open at once, so the time per example stays bounded."""


@dataclass(frozen=True)
class PackingPlan:
    """Rows of examples.

    Attributes:
      members: int64 [examples], all examples grouped by row.
      row_starts: int64 [rows + 1]; row ``r`` holds ``members[row_starts[r]:row_starts[r + 1]]``.
      inputs_density: share of the inputs' positions that hold tokens.
      targets_density: the same for the targets.
    """

    members: np.ndarray
    row_starts: np.ndarray
    inputs_density: float
    targets_density: float

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.row_starts) - 1

    def row(self, index: int) -> np.ndarray:
        """Return the examples of a row, in the order in which they stand in it."""
        return self.members[self.row_starts[index] : self.row_starts[index + 1]]


def plan_packing(
    inputs_lengths: np.ndarray, targets_lengths: np.ndarray, *, inputs_length: int, targets_length: int
) -> PackingPlan:
    """Pack examples by best fit, longest first within blocks of a fixed random order.

    An example goes to the row where it leaves the least space, counting both sides. The random order (always
    the same) keeps neighbours of the source out of one row; the blocks keep the work linear.

    Args:
      inputs_lengths: int [examples], EOS included, each between 1 and ``inputs_length``.
      targets_lengths: the same for the targets.
      inputs_length: tokens of a row's inputs.
      targets_length: tokens of a row's targets.
    """
    lengths = np.stack([inputs_lengths, targets_lengths], axis=1).astype(np.int64)
    capacity = np.array([inputs_length, targets_length])
    if len(lengths) and (lengths.min() < 1 or (lengths > capacity[None, :]).any()):
        raise ValueError("every length must be at least 1 and fit its row")
    order = np.random.Generator(np.random.Philox(key=0)).permutation(len(lengths))
    rows: list[list[int]] = []
    for start in range(0, len(order), _BLOCK):
        rows.extend(_pack_block(order[start : start + _BLOCK], lengths, capacity))
    filled = lengths.sum(axis=0) / np.maximum(capacity * max(len(rows), 1), 1)
    return PackingPlan(
        members=np.array([member for row in rows for member in row], np.int64),
        row_starts=np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]),
        inputs_density=float(filled[0]),
        targets_density=float(filled[1]),
    )


def _pack_block(block: np.ndarray, lengths: np.ndarray, capacity: np.ndarray) -> list[list[int]]:
    shares = lengths[block] / capacity[None, :]
    block = block[np.argsort(-shares.max(axis=1), kind="stable")]
    free_inputs = np.full(len(block), capacity[0])
    free_targets = np.full(len(block), capacity[1])
    rows: list[list[int]] = []
    for example in block.tolist():
        inputs, targets = lengths[example].tolist()
        # One row beyond the open ones is looked at too: it is empty, so something always fits.
        seen = slice(0, len(rows) + 1)
        left_inputs, left_targets = free_inputs[seen] - inputs, free_targets[seen] - targets
        left = left_inputs / capacity[0] + left_targets / capacity[1]
        left[(left_inputs < 0) | (left_targets < 0)] = np.inf
        best = int(left.argmin())
        if best == len(rows):
            rows.append([])
        rows[best].append(example)
        free_inputs[best] -= inputs
        free_targets[best] -= targets
    return rows
