"""What an architecture's way of writing answers; a file each for the ways that there are."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

import jax
import numpy as np

from t5lite.data.pipeline import DataConfig, SourceDataConfig
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.decoding.config import GREEDY, DecodingConfig
from t5lite.decoding.strategies import Search, Written, ids_of_eos
from t5lite.models.config import ModelConfig
from t5lite.models.program import Program

OUTPUT_LENGTH = 128
"""Of a continuation, and of what an imported model answers."""


class Row(NamedTuple):
    """What a model reads of one input."""

    ids: np.ndarray
    """With the special tokens that frame it, cut to the length there is."""
    num_tokens: int
    """Before it was cut."""
    keeps_end: bool = False
    """Whether it is its beginning that was cut, as of a prompt."""

    @property
    def cut(self) -> bool:
        """Whether something of the input is left out."""
        return len(self.ids) < self.num_tokens


Given: TypeAlias = str | np.ndarray | Prompt | Row
"""A text; ids without the special tokens that frame an input; a prompt; or a whole row."""
Inputs: TypeAlias = Sequence[str] | Sequence[np.ndarray] | Sequence[Prompt] | Sequence[Row]


@dataclass(frozen=True)
class GenerationLengths:
    """Tokens of an input and of an output, special ones included."""

    encoder_length: int
    max_decode_length: int
    input_limit: int | None
    """Most tokens of an input beside an output of this length; None where there is no table of positions."""
    output_limit: int | None
    """Most tokens of an output, beside an input of the length that was given."""


@dataclass(frozen=True)
class TrainedOn:
    """What a model was trained on."""

    data: DataConfig
    """All of it."""
    source: SourceDataConfig
    """The part that says how inputs are laid out."""
    from_scratch: bool
    """Whether it read nothing before but documents of stores: no training began with an imported model."""


class DecodingMode(ABC):
    """How inputs become rows, rows arrays, and what is computed the ids of a text.

    Args:
      config: of the model.
      vocabulary: encodes inputs that are texts.
      encoder_length: inputs are cut to this many tokens, special ones included.
      max_decode_length: most tokens generated for an input, EOS included.
      eos_ids: what ends an output besides the vocabulary's EOS.
      decoding: how texts are written.

    Raises:
      ConfigError: if the model cannot write, or not so, or a length leaves no room.
    """

    least_length: ClassVar[int] = 1
    """Of an input."""
    searches: ClassVar[bool] = False
    """Whether it writes token by token (``Searching``)."""

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: Vocabulary,
        *,
        encoder_length: int,
        max_decode_length: int,
        eos_ids: Sequence[int] = (),
        decoding: DecodingConfig = GREEDY,
    ):
        self.config, self.vocabulary, self.encoder_length = config, vocabulary, encoder_length
        self.decoding = decoding
        self.eos_ids = tuple(dict.fromkeys((*ids_of_eos(vocabulary.eos_id), *eos_ids)))
        self.search = decoding.search(
            max_decode_length=max_decode_length,
            eos_ids=self.eos_ids,
            known_V=known_rows(config, vocabulary.known_ids),
            vocab_size=config.vocab_size,
        )

    @staticmethod
    def lengths(
        config: ModelConfig,
        trained: TrainedOn | None,
        *,
        encoder_length: int | None,
        max_decode_length: int | None,
        num_ahead: int,
    ) -> GenerationLengths:
        """Return the lengths to generate with; see ``generation_lengths``."""
        inputs, outputs = config.max_length, min(OUTPUT_LENGTH, config.max_length)
        if trained is not None:
            inputs, outputs = trained.data.lengths(config.architecture)
        limit, most = config.position_limit, written_limit(config, num_ahead)
        outputs = max(1, outputs if most is None else min(outputs, most))
        return GenerationLengths(encoder_length or inputs, max_decode_length or outputs, limit, most)

    @classmethod
    def programs(cls, config: ModelConfig, search: Search) -> dict[str, Program]:
        """Return what an export for serving has besides the forward pass; see ``decoding_programs``."""
        del config, search
        return {}

    @staticmethod
    def frame(vocabulary: Vocabulary, trained: TrainedOn) -> Frame | None:
        """Return what stands around the ids of a text; None where nothing of the training decides it."""
        del vocabulary, trained
        return None

    def prompts(self, texts: Sequence[str], trained: TrainedOn) -> Inputs:
        """Return inputs that begin and end as those that the model was trained on."""
        del trained
        return texts

    @abstractmethod
    def row(self, given: Given) -> Row:
        """Return what the model reads of an input."""

    def ids(self, given: str | np.ndarray | Prompt) -> np.ndarray:
        """Return the ids of an input, without what frames them."""
        if isinstance(given, str):
            return self.vocabulary.encode(given, parse_sentinels=True)
        return given.ids if isinstance(given, Prompt) else given

    def fitted(self, rows: Sequence[Row]) -> int:
        """Return the least ``encoder_length`` for rows.

        Raises:
          ConfigError: if the model has no positions for them, or for what is written.
        """
        length = max((len(row.ids) for row in rows), default=self.encoder_length)
        length = max(length, self.least_length)
        self.config.check_length(length)
        return length

    def arrays(self, rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens ``[B, length]``, and what tells padding apart: marks, segment ids here."""
        return left_aligned(rows, length)

    @abstractmethod
    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array, indices_B: jax.Array) -> Written:
        """Return what a bound model writes; traceable.

        Args:
          model: a bound module.
          tokens_BM: of ``arrays``.
          marks: of ``arrays``.
          indices_B: int32, which inputs they are, of all.
        """

    @property
    def num_sequences(self) -> int:
        """Texts that are written for an input."""
        return 1

    @abstractmethod
    def ended(self, ids: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the ids of the text, of a row that was written, and whether it is whole."""


def known_rows(config: ModelConfig, known_ids: np.ndarray | None) -> np.ndarray | None:
    """Return bool ``[V]``, the rows of the model's table that stand for a token; None: all do."""
    if known_ids is None:
        return None
    return np.pad(known_ids, (0, config.vocab_size - len(known_ids)))


def written_limit(config: ModelConfig, num_ahead: int) -> int | None:
    """Return the most positions of a text that is written, and of a prompt that it continues; None: any.

    Args:
      config: of the model.
      num_ahead: positions that the strategy takes beyond those of greedy search.
    """
    return None if config.position_limit is None else config.position_limit - num_ahead


def framed_row(ids: np.ndarray, frame: Frame, length: int) -> Row:
    """Return the ids, cut to fit, in a frame."""
    return Row(frame.around(ids, length), len(ids) + frame.size)


def left_aligned(rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and segment ids, int32 ``[B, length]``."""
    tokens_BM, segment_ids_BM = (np.zeros((len(rows), length), np.int32) for _ in range(2))
    for row, ids in enumerate(rows):
        tokens_BM[row, : len(ids)] = ids
        segment_ids_BM[row, : len(ids)] = 1
    return tokens_BM, segment_ids_BM
