"""Orbax without what TensorStore never frees.

To describe an array, Orbax asks TensorStore for the JSON of its specification, and what that returns is never
freed (seen in versions 0.1.80 to 0.1.86): some 7 kB an array, at each look into a checkpoint. Every save is
looked into, so a long run would grow without end. Only the description's ``zarr_metadata`` comes from there,
which nobody here reads.
"""

import functools
from typing import Any

from orbax.checkpoint._src.serialization import tensorstore_utils


def enable() -> None:
    """Describe arrays without their specifications from now on; once is enough."""
    describe = tensorstore_utils.array_metadata_from_tensorstore
    if not isinstance(describe, functools.partial):
        tensorstore_utils.array_metadata_from_tensorstore = functools.partial(_described, describe)


def _described(describe: Any, array: Any, *arguments: Any, **named: Any) -> Any:
    return describe(_WithoutSpecification(array), *arguments, **named)


class _WithoutSpecification:
    """An open array that does not say how it is stored; Orbax then leaves ``zarr_metadata`` out."""

    base = None

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    def spec(self) -> Any:
        raise AttributeError("spec")
