"""Pretraining objectives: pure NumPy functions from token chunks to batch fields, one file each.

An objective is a frozen config with

    architectures                      ClassVar: the kinds of model it trains (``config.architecture``)
    heads                              ClassVar: of an encoder-only model, the heads it trains
    layout(inputs_length)              ``ChunkLayout``; a ConfigError where the length cannot be filled
    separator(vocabulary)              id put after every document of the stream, or None
    check_vocabulary(vocabulary, inputs_length)   a ConfigError where it lacks the ids that are needed
    fields(tokens_BN, key=, indices=, vocabulary=)   the batch fields (``core.types``) of chunks; the noise
                                       of a row depends on ``(key, index)`` alone

A new one is one file and its name in the union ``Objective``.
"""

from typing import TypeAlias, get_args

from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.objectives.span_corruption import SpanCorruption

Objective: TypeAlias = SpanCorruption | CausalLM | MaskedLM
"""The union of the objectives; ``PretrainingDataConfig.objective`` is one of them."""

OBJECTIVES: dict[str, type[Objective]] = {kind.__name__: kind for kind in get_args(Objective)}
"""Every objective by its name."""
