"""Arrays of a checkpoint that are read box by box, and the views that give them another shape."""

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from t5lite.core.errors import CheckpointError
from t5lite.interop.arrival import Index, Source
from t5lite.interop.t5x.msgpack_file import FileArray

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES = ("float32", "bfloat16", "float16", "float64", "uint16")


Leaf = Source
"""An array of a checkpoint, as it is there or seen in another shape."""


class InlineLeaf:
    """An array in the msgpack file itself."""

    def __init__(self, name: str, array: FileArray):
        self.array, self.shape = array, array.shape
        check_dtype(name, array.dtype)
        self.block = (1, *self.shape[1:])[: len(self.shape)]

    def read(self, index: Index) -> np.ndarray:
        """Return a box; whole rows of the first axis are read for it."""
        row, (rows, *others) = math.prod(self.shape[1:]), index
        box = self.array.flat(rows.start * row, rows.stop * row).reshape(-1, *self.shape[1:])
        return as_weights(box[:, *others])


class JoinedLeaf:
    """``leaf`` with its axes ``axis`` and ``axis + 1`` of sizes a and b as one of size a·b."""

    def __init__(self, leaf: Leaf, axis: int):
        self.leaf, self.axis, self.inner = leaf, axis, leaf.shape[axis + 1]
        self.shape = (*leaf.shape[:axis], leaf.shape[axis] * self.inner, *leaf.shape[axis + 2 :])
        self.block = (*leaf.block[:axis], leaf.block[axis] * self.inner, *leaf.block[axis + 2 :])

    def read(self, index: Index) -> np.ndarray:
        """Return a box; whole rows of the second of the two axes are read for it."""
        axis, cut = self.axis, index[self.axis]
        first = cut.start // self.inner
        rows = slice(first, -(-cut.stop // self.inner))
        box = self.leaf.read((*index[:axis], rows, slice(0, self.inner), *index[axis + 1 :]))
        box = box.reshape(*box.shape[:axis], -1, *box.shape[axis + 2 :])
        start = cut.start - first * self.inner
        return box[(slice(None),) * axis + (slice(start, start + cut.stop - cut.start),)]


class PermutedLeaf:
    """``leaf`` with its axes in another order, as ``numpy.transpose`` takes it."""

    def __init__(self, leaf: Leaf, axes: Sequence[int]):
        self.leaf, self.axes = leaf, tuple(axes)
        self.shape = tuple(leaf.shape[axis] for axis in axes)
        self.block = tuple(leaf.block[axis] for axis in axes)

    def read(self, index: Index) -> np.ndarray:
        """Return a box."""
        original = [slice(0, 0)] * len(self.axes)
        for axis, cut in zip(self.axes, index, strict=True):
            original[axis] = cut
        return self.leaf.read(tuple(original)).transpose(self.axes)


class StackedLeaf:
    """Leaves of one shape, one a layer, along a new axis 0."""

    def __init__(self, leaves: Sequence[Leaf]):
        self.leaves = leaves
        self.shape = (len(leaves), *leaves[0].shape)
        self.block = (1, *leaves[0].block)

    def read(self, index: Index) -> np.ndarray:
        """Return a box."""
        return np.stack([leaf.read(index[1:]) for leaf in self.leaves[index[0]]])


def check_dtype(name: str, dtype: np.dtype) -> None:
    """Check that ``as_weights`` makes floats of arrays of ``dtype``.

    Raises:
      CheckpointError: if not.
    """
    if dtype.name not in _DTYPES:
        raise CheckpointError(f"leaf {name} has dtype {dtype.name}; readable: {', '.join(_DTYPES)}")


def as_weights(box: np.ndarray) -> np.ndarray:
    """Return ``box``; uint16 as the bfloat16 whose bits a checkpoint of version 2 holds in it."""
    return box.view(_BFLOAT16) if box.dtype == np.uint16 else box
