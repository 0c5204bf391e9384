"""Generation of text from a bound model: the key-value cache and greedy search."""

from t5lite.decoding.cache import DecodingCache, advance, start_cache, start_prompt_cache
from t5lite.decoding.greedy import greedy, greedy_continuation

__all__ = [
    "DecodingCache",
    "advance",
    "greedy",
    "greedy_continuation",
    "start_cache",
    "start_prompt_cache",
]
