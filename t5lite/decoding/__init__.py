"""Generation of text from a bound model: the key-value cache, greedy search, and a way of writing a file."""

from t5lite.decoding.cache import DecodingCache, advance, start_cache, start_prompt_cache
from t5lite.decoding.greedy import EosIds, greedy, greedy_continuation, ids_of_eos, most_probable
from t5lite.decoding.mode import (
    DecodingMode,
    GenerationLengths,
    Inputs,
    Row,
    TrainedOn,
    framed_row,
    left_aligned,
)
from t5lite.decoding.modes import DECODING_MODES, decoding_mode, decoding_programs, generation_lengths

__all__ = [
    "DECODING_MODES",
    "DecodingCache",
    "DecodingMode",
    "EosIds",
    "GenerationLengths",
    "Inputs",
    "Row",
    "TrainedOn",
    "advance",
    "decoding_mode",
    "decoding_programs",
    "framed_row",
    "generation_lengths",
    "greedy",
    "greedy_continuation",
    "ids_of_eos",
    "left_aligned",
    "most_probable",
    "start_cache",
    "start_prompt_cache",
]
