"""Strategies of search: a frozen dataclass and a file each; those imported here are those that there are."""

from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from t5lite.core.registry import union_of
from t5lite.decoding.strategies.base import (
    EosIds,
    Search,
    SearchState,
    Strategy,
    Written,
    ids_of_eos,
    known,
)
from t5lite.decoding.strategies.beam import Beam as Beam
from t5lite.decoding.strategies.contrastive import Contrastive as Contrastive
from t5lite.decoding.strategies.diverse_beam import DiverseBeam as DiverseBeam
from t5lite.decoding.strategies.greedy import Greedy as Greedy
from t5lite.decoding.strategies.greedy import most_probable
from t5lite.decoding.strategies.sampling import Sampling as Sampling
from t5lite.decoding.strategies.t5x_beam import T5XBeam as T5XBeam

if TYPE_CHECKING:
    StrategyConfig: TypeAlias = Strategy[Any]
else:
    StrategyConfig = union_of(Strategy, globals())
"""Any strategy."""

STRATEGIES: dict[str, type[StrategyConfig]] = {kind.name: kind for kind in get_args(StrategyConfig)}
"""Every strategy by the name that it is chosen by."""

__all__ = [
    "STRATEGIES",
    "Beam",
    "Contrastive",
    "DiverseBeam",
    "EosIds",
    "Greedy",
    "Sampling",
    "Search",
    "SearchState",
    "Strategy",
    "StrategyConfig",
    "T5XBeam",
    "Written",
    "ids_of_eos",
    "known",
    "most_probable",
]
