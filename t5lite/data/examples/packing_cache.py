"""Packing plans kept on disk: a large one takes seconds, and every process of every start needs it.

A plan is a pure function of the lengths, so a digest of them is its name; a file that is there is right. They
lie in the user's cache (``$XDG_CACHE_HOME/t5lite/packing``, by default ``~/.cache``) and may be deleted.
"""

import contextlib
import hashlib
import io
from pathlib import Path

import numpy as np

from t5lite.core.errors import UserError
from t5lite.core.files import write_bytes
from t5lite.core.user_cache import user_cache
from t5lite.data.examples.packing import PackingPlan, plan_packing

_WORTH_KEEPING = 100_000
"""Examples below which planning costs no more than reading a plan."""
_VERSION = 1
"""Of the rule by which ``plan_packing`` packs."""


def kept_plan(
    inputs_lengths: np.ndarray, targets_lengths: np.ndarray, *, inputs_length: int, targets_length: int
) -> PackingPlan:
    """Return ``plan_packing`` of the same arguments, from the cache if it is there."""
    limits = {"inputs_length": inputs_length, "targets_length": targets_length}
    if len(inputs_lengths) < _WORTH_KEEPING:
        return plan_packing(inputs_lengths, targets_lengths, **limits)
    digest = hashlib.sha256(f"{_VERSION} {inputs_length} {targets_length}".encode())
    for lengths in (inputs_lengths, targets_lengths):
        digest.update(np.ascontiguousarray(lengths, "<i8").data)
    folder = user_cache("packing")
    path = folder and folder / f"{digest.hexdigest()}.npz"
    if path is not None and (kept := _read(path, num_examples=len(inputs_lengths))):
        return kept
    plan = plan_packing(inputs_lengths, targets_lengths, **limits)
    if path is not None:
        content = io.BytesIO()
        densities = np.array([plan.inputs_density, plan.targets_density])
        np.savez(content, members=plan.members, row_starts=plan.row_starts, densities=densities)
        with contextlib.suppress(UserError, OSError):  # what cannot be written to is no reason to stop
            write_bytes(path, content.getvalue())
    return plan


def _read(path: Path, *, num_examples: int) -> PackingPlan | None:
    """Return the plan in a file, None if there is none, or one that does not hold every example once."""
    try:
        with open(path, "rb") as stream:
            kept = np.load(stream)
            members, row_starts, densities = kept["members"], kept["row_starts"], kept["densities"].tolist()
        if not np.array_equal(np.sort(members), np.arange(num_examples)):
            return None
        if row_starts[0] != 0 or row_starts[-1] != num_examples or (np.diff(row_starts) < 1).any():
            return None
        return PackingPlan(
            members=members, row_starts=row_starts, inputs_density=densities[0], targets_density=densities[1]
        )
    except Exception:  # zip, zlib, NumPy and the system each have their own; the plan can be made anew
        return None
