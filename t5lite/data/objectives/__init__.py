"""Pretraining objectives: pure NumPy functions from token chunks to batch fields, one file each.

An objective is a frozen config with ``chunk_length(inputs_length)``, ``num_sentinels(raw_tokens)`` and
``fields(tokens_BN, ...)``.
"""

from t5lite.data.objectives.span_corruption import SpanCorruption

OBJECTIVES = {"span_corruption": SpanCorruption}
