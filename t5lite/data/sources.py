"""What a single source can be made of: another kind is a file of ``data/examples`` and its name here."""

from typing import TypeAlias

from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig

SourceDataConfig: TypeAlias = PretrainingDataConfig | PairsDataConfig
"""The configuration of any single source; each is a ``SourceConfig``."""
