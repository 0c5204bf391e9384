"""Generation of text from a bound model: the key-value cache, strategies of search, and ways of writing."""

from t5lite.decoding.cache import (
    DecodingCache,
    Read,
    advance,
    read,
    reorder,
    start_cache,
    start_prompt_cache,
    take,
)
from t5lite.decoding.config import GREEDY, DecodingConfig, WritingRules
from t5lite.decoding.decoder import AnsweringDecoder, ContinuingDecoder, Decoder, Start
from t5lite.decoding.greedy import greedy, greedy_continuation
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
from t5lite.decoding.scoring import score_targets
from t5lite.decoding.search import run_search
from t5lite.decoding.strategies import (
    STRATEGIES,
    Beam,
    Contrastive,
    DiverseBeam,
    EosIds,
    Greedy,
    Sampling,
    Search,
    Strategy,
    T5XBeam,
    Written,
    ids_of_eos,
    most_probable,
)

__all__ = [
    "DECODING_MODES",
    "GREEDY",
    "STRATEGIES",
    "AnsweringDecoder",
    "Beam",
    "ContinuingDecoder",
    "Contrastive",
    "Decoder",
    "DecodingCache",
    "DecodingConfig",
    "DecodingMode",
    "DiverseBeam",
    "EosIds",
    "GenerationLengths",
    "Greedy",
    "Inputs",
    "Read",
    "Row",
    "Sampling",
    "Search",
    "Start",
    "Strategy",
    "T5XBeam",
    "TrainedOn",
    "WritingRules",
    "Written",
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
    "read",
    "reorder",
    "run_search",
    "score_targets",
    "start_cache",
    "start_prompt_cache",
    "take",
]
