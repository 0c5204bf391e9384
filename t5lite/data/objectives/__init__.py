"""Pretraining objectives: pure NumPy functions from token chunks to batch fields, one file each.

An objective is a frozen config with ``chunk_length(inputs_length)``, ``num_sentinels(raw_tokens)`` and
``fields(tokens_BN, ...)``. A new one is one file and its name in the union ``Objective``.
"""

from typing import TypeAlias, get_args

from t5lite.data.objectives.span_corruption import SpanCorruption

Objective: TypeAlias = SpanCorruption
"""The union of the objectives; ``PretrainingDataConfig.objective`` is one of them."""

OBJECTIVES: dict[str, type[Objective]] = {kind.__name__: kind for kind in get_args(Objective) or (Objective,)}
"""Every objective by its name."""
