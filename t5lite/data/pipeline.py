"""From stores to batches: a batch is a pure function of (data, config, seed, examples seen before it).

Position ``p = examples seen + row`` of the endless example stream is looked up in an index permutation
(another one each epoch), read from the store at random, and given noise that depends on ``(seed, p)``. So
neither hosts, worker processes, devices nor the size of the batches change which examples come and in which
order, and starting anywhere costs nothing. In a mixture, the position first says which source the row is of,
and how many of that source came before.
"""

from typing import TypeAlias, overload

from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.data.batch_stream import BatchStream
from t5lite.data.example_order import evaluation_indices
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.examples.number_examples import NumbersDataConfig
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.examples.span_examples import SpansDataConfig
from t5lite.data.examples.text_pair_examples import TextPairsDataConfig
from t5lite.data.examples.word_label_examples import WordLabelsDataConfig
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.mixture_pipeline import MixturePipeline
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.opening import OnDamage, Opening
from t5lite.data.source_pipeline import Pipeline
from t5lite.data.sources import SourceDataConfig

__all__ = [
    "BatchStream",
    "DataConfig",
    "MixtureDataConfig",
    "MixturePipeline",
    "MixtureSource",
    "NumbersDataConfig",
    "PairsDataConfig",
    "Pipeline",
    "PretrainingDataConfig",
    "SourceDataConfig",
    "SpansDataConfig",
    "TextPairsDataConfig",
    "WordLabelsDataConfig",
    "evaluation_indices",
    "open_pipeline",
]

DataConfig: TypeAlias = SourceDataConfig | MixtureDataConfig


@overload
def open_pipeline(
    config: SourceDataConfig,
    *,
    architecture: str | None = None,
    start_id: int = PAD_ID,
    seed: int = 0,
    shuffle: bool = True,
    vocabulary_fingerprint: str | None = None,
    classes: LabelClasses | None = None,
    on_damage: OnDamage = "stop",
) -> Pipeline: ...


@overload
def open_pipeline(
    config: DataConfig,
    *,
    architecture: str | None = None,
    start_id: int = PAD_ID,
    seed: int = 0,
    shuffle: bool = True,
    vocabulary_fingerprint: str | None = None,
    classes: LabelClasses | None = None,
    on_damage: OnDamage = "stop",
    history: MixtureHistory | None = None,
    position: int = 0,
) -> BatchStream: ...


def open_pipeline(
    config: DataConfig,
    *,
    architecture: str | None = None,
    start_id: int = PAD_ID,
    seed: int = 0,
    shuffle: bool = True,
    vocabulary_fingerprint: str | None = None,
    classes: LabelClasses | None = None,
    on_damage: OnDamage = "stop",
    history: MixtureHistory | None = None,
    position: int = 0,
) -> BatchStream:
    """Open the data that ``config`` names: a ``Pipeline``, of a mixture a ``MixturePipeline``.

    Args:
      config: what to read and how to make examples of it.
      architecture: of the model that is fed (``config.architecture``), which decides how examples are laid
        out; None takes an encoder-decoder for pairs, for text the first that the objective trains.
      start_id: in front of what its decoder writes beside an encoder (``config.decoder_start_id``).
      seed: of the shuffle and the noise.
      shuffle: whether training batches come in random order; evaluation never does.
      vocabulary_fingerprint: of the vocabulary the data must belong to; None accepts any.
      classes: of pairs for an encoder-only model; None finds them in the store.
      on_damage: whether damaged pages of tokens stop the stream by a ``DataError``, or leave blank rows that
        are counted (``BatchStream.skipped``).
      history: of a mixture, the shares that the run has had; None for a run that begins.
      position: of a mixture with a history, where it goes on: the examples seen.

    Raises:
      DataError: if a store is missing, damaged, of another vocabulary, too small for one example, or has
        targets that are none of the classes.
      ConfigError: if the settings contradict the store.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed} must not be negative")
    return config.open(
        Opening(
            architecture=architecture,
            start_id=start_id,
            seed=seed,
            shuffle=shuffle,
            vocabulary_fingerprint=vocabulary_fingerprint,
            classes=classes,
            on_damage=on_damage,
            history=history,
            position=position,
        )
    )
