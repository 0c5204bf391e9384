"""Generation of text from a bound model: the key-value cache and greedy search."""

from t5lite.decoding.cache import DecodingCache, advance, start_cache, start_prompt_cache
from t5lite.decoding.greedy import EosIds, greedy, greedy_continuation, ids_of_eos, most_probable

__all__ = [
    "DecodingCache",
    "EosIds",
    "advance",
    "greedy",
    "greedy_continuation",
    "ids_of_eos",
    "most_probable",
    "start_cache",
    "start_prompt_cache",
]
