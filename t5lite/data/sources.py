"""What a single source can be made of: another kind is a file of ``data/examples`` and its name here."""

from typing import TypeAlias

from t5lite.data.examples.number_examples import NumbersDataConfig
from t5lite.data.examples.pair_examples import CLASSIFIER, PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.examples.span_examples import SpansDataConfig
from t5lite.data.examples.text_pair_examples import TextPairsDataConfig
from t5lite.data.examples.word_label_examples import WordLabelsDataConfig

_Labelled: TypeAlias = (
    PairsDataConfig | NumbersDataConfig | WordLabelsDataConfig | SpansDataConfig | TextPairsDataConfig
)
SourceDataConfig: TypeAlias = PretrainingDataConfig | _Labelled
"""The configuration of any single source; each is a ``SourceConfig``."""
LABELLED_DATA: dict[str, type[_Labelled]] = {
    CLASSIFIER: PairsDataConfig,
    NumbersDataConfig.head: NumbersDataConfig,
    WordLabelsDataConfig.head: WordLabelsDataConfig,
    SpansDataConfig.head: SpansDataConfig,
    TextPairsDataConfig.head: TextPairsDataConfig,
}
"""What pairs are to an encoder-only model, by the head that they train."""
