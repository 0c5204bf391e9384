"""A search that is looked at every few tokens, from the host: to end rows, or to show what is written."""

from collections.abc import Callable
from typing import Any, cast

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.cpu.flags import options_of_decoding
from t5lite.decoding import DecodingMode, Written
from t5lite.decoding.searching import Searching
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated

Look = Callable[[np.ndarray], np.ndarray]
"""Is given what is written so far, int32 ``[R, length]``; returns bool ``[R]``, which rows are to end."""


class SteppedSearch:
    """Writes what ``mode.run`` does. Every process looks at all rows, and ends the same.

    Args:
      model: the functional model that ``params`` belong to.
      mode: one that ``searches``, by a strategy that ``ends_rows``.
      every: tokens between two looks.
      partitioner: where ``params`` lie; None for one device.
    """

    def __init__(
        self, model: FunctionalModel, mode: DecodingMode, *, every: int, partitioner: Partitioner | None
    ):
        searching = cast(Searching, mode)
        strategy, self._length = searching.decoding.strategy, searching.search.max_decode_length

        def looked_at(state: Any) -> tuple[Any, Written, jax.Array]:
            written = strategy.written(state, searching.search)
            if partitioner is not None:
                written = jax.lax.with_sharding_constraint(written, partitioner.replicated)
            return state, written, strategy.unfinished(state)

        def begin(
            params: Tree, tokens_BM: jax.Array, marks: jax.Array, indices_B: jax.Array
        ) -> tuple[Any, Written, jax.Array]:
            with activated(partitioner):
                model_ = model.bind_for_decoding(params)
                return looked_at(searching.begin(model_, tokens_BM, marks, indices_B))

        def go_on(params: Tree, state: Any, ended_R: jax.Array) -> tuple[Any, Written, jax.Array]:
            with activated(partitioner):
                return looked_at(searching.go_on(model.bind_for_decoding(params), state, ended_R, every))

        options = options_of_decoding(model.execution.compute_dtype)
        self._begin: Any = jax.jit(begin, compiler_options=options)
        self._go_on: Any = jax.jit(go_on, donate_argnums=1, compiler_options=options)

    def __call__(self, params: Tree, arrays: tuple[Any, ...], look: Look) -> Written:
        """Return what is written for inputs (``DecodingMode.arrays``, and their indices)."""
        state, written, unfinished = self._begin(params, *arrays)
        while True:
            num_decoded = int(state.num_decoded)
            ended_R = look(np.asarray(written.tokens_RL)[:, :num_decoded])
            if num_decoded >= self._length or not unfinished or ended_R.all():
                return written
            state, written, unfinished = self._go_on(params, state, ended_R)
