"""What every objective answers, with the answers that most share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from t5lite.core.architectures import SIDES_OF, writes
from t5lite.data.objectives.layout import ChunkLayout
from t5lite.data.objectives.next_sentence import SentencePairs
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Vocabulary


class BaseObjective(ABC):
    """A pretraining objective: a frozen configuration that makes batch fields of chunks of tokens."""

    architectures: ClassVar[tuple[str, ...]] = tuple(each for each in SIDES_OF if writes(each))
    """The kinds of model it trains (``config.architecture``)."""
    ends_inputs: ClassVar[bool] = False
    """Whether a decoder-only model reads EOS between inputs and targets, as between those of pairs."""

    @property
    def pairs_sentences(self) -> bool:
        """Whether a row is two stretches of text, with a label that says whether they follow each other."""
        return False

    def held_out(self) -> Self:
        """Return what held-out text is measured by: this objective, unless it says otherwise."""
        return self

    @property
    def remark(self) -> str | None:
        """What there is to say of its rows besides its name; None for nothing."""
        return None

    def unreached(self, examples: int) -> str | None:
        """Return what to say of settings that begin only after so many examples; None where there is none."""
        del examples
        return None

    @abstractmethod
    def layout(self, inputs_length: int, architecture: str) -> ChunkLayout:
        """Return the sizes of chunks and batch fields.

        Raises:
          ConfigError: if ``inputs_length`` cannot be filled.
        """

    def separators(self, vocabulary: Vocabulary, architecture: str) -> tuple[int, ...]:
        """Return the ids put after every document; none: they follow each other without, as in T5."""
        del vocabulary, architecture
        return ()

    def check_head(self, head: str) -> None:
        """Check that there are labels for a head of ``architectures``; there are for a language model.

        Raises:
          ConfigError: naming the heads that there are labels for.
        """
        del head

    @abstractmethod
    def check_vocabulary(self, vocabulary: Vocabulary, inputs_length: int, architecture: str) -> None:
        """Check that the vocabulary has the ids that are needed.

        Raises:
          ConfigError: if it lacks one.
        """

    @abstractmethod
    def field_names(self, layout: ChunkLayout) -> tuple[str, ...]:
        """Return which fields a batch has: the keys of ``fields``, or of ``pair_fields`` where it pairs."""

    @abstractmethod
    def fields(
        self,
        tokens_BN: np.ndarray,
        *,
        key: np.ndarray,
        indices: np.ndarray,
        vocabulary: Vocabulary,
        layout: ChunkLayout,
    ) -> dict[str, np.ndarray]:
        """Return the batch fields (``core.types``) of chunks; the noise of a row depends on (key, index)."""

    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a text as chunks have them; ``prefix`` begins one that is only continued."""
        ids = vocabulary.encode(text, parse_sentinels=True)
        return Prompt(ids, ends=True) if self.ends_inputs else Prompt.after(prefix, ids)

    def pair_fields(
        self, pairs: SentencePairs, *, key: np.ndarray, indices: np.ndarray, vocabulary: Vocabulary
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of sentence pairs, where the objective ``pairs_sentences``."""
        raise AssertionError(f"{type(self).__name__} pairs no sentences")
