"""Generation of text from a bound model: the key-value cache and greedy search."""

from t5lite.decoding.cache import DecodingCache, advance, start_cache
from t5lite.decoding.greedy import greedy

__all__ = ["DecodingCache", "advance", "greedy", "start_cache"]
