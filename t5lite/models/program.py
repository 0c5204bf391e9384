"""A function of a model over fields of a batch, to be exported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.core.types import Batch


@dataclass(frozen=True, kw_only=True)
class Program:
    """A function of a model to export.

    Attributes:
      run: takes the bound module and its inputs by field, returns its outputs by name; traceable.
      fields: names of its inputs, batch fields of ``core.types``: int32 ``[batch, length]``.
      added_length: positions that it needs beyond those of its inputs, for tokens that it adds.
    """

    run: Callable[[Any, Batch], dict[str, jax.Array]]
    fields: tuple[str, ...]
    added_length: int = 0
