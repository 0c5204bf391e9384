"""The inputs of pairs as an encoder-only model with a head reads them: [CLS] inputs [SEP] and padding."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.data.vocabulary.special_tokens import SpecialTokens, special_tokens

NUM_FRAMING = 2
"""[CLS] and [SEP]."""
Overlong = Literal["truncate", "drop"]


class Described(NamedTuple):
    """An example, for a reader of predictions."""

    inputs: str
    reference: str
    input_cut: bool
    other_references: tuple[str, ...] = ()
    """As right as the reference."""


class FramedInputs:
    """Those of the inputs of a store that are examples, each a row by itself.

    Token types are absent, hence 0: the inputs are one sentence.

    Args:
      store: of the pairs.
      length: of a row.
      overlong: whether inputs that are longer are cut or left out.

    Attributes:
      usable: the numbers of the pairs that are examples.
      report: what was cut and left out, and which share of the positions holds tokens.

    Raises:
      DataError: if no pair is usable.
      ConfigError: if the vocabulary has nothing to frame the inputs with.
    """

    def __init__(self, store: PairStore, *, length: int, overlong: Overlong):
        self._store, self._length = store, length
        self.vocabulary: Vocabulary = store.vocabulary()
        self._special = special_tokens(self.vocabulary)
        lengths = store.inputs.document_lengths + NUM_FRAMING
        self._is_overlong = lengths > length
        dropped = self._is_overlong if overlong == "drop" else np.zeros_like(self._is_overlong)
        self.usable = np.flatnonzero(~dropped)
        if not len(self.usable):
            raise DataError(
                f"none of the {store.num_pairs} pairs of {store.path} fits inputs_length={length}; raise it "
                "or pass overlong=truncate"
            )
        tokens = np.minimum(lengths[self.usable], length).sum()
        self.report: dict[str, float] = {
            "pairs": store.num_pairs,
            "examples": len(self.usable),
            "truncated": int((self._is_overlong & ~dropped).sum()),
            "dropped": int(dropped.sum()),
            "density": float(tokens / (len(self.usable) * length)),
        }

    def fields(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Return tokens and segment ids of examples, one a row."""
        documents = self._store.inputs.documents(self.usable[indices])
        tokens_BM, segment_ids_BM = framed_rows(documents, self._special, length=self._length)
        return {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": segment_ids_BM}

    def described(self, index: int) -> Described:
        """Return the inputs and the target of an example, decoded."""
        pair = int(self.usable[index])
        inputs, target = (
            self.vocabulary.decode(side.document(pair)) for side in (self._store.inputs, self._store.targets)
        )
        return Described(inputs, target, bool(self._is_overlong[pair]))


def framed_rows(
    documents: Sequence[np.ndarray], special: SpecialTokens, *, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and segment ids, int32 [B, length]: [CLS], the document, cut to fit, [SEP], padding."""
    tokens_BM, segment_ids_BM = (np.zeros((len(documents), length), np.int32) for _ in range(2))
    for row, document in enumerate(documents):
        body = document[: length - NUM_FRAMING]
        end = len(body) + NUM_FRAMING
        tokens_BM[row, :end] = [special.cls, *body.tolist(), special.sep]
        segment_ids_BM[row, :end] = 1
    return tokens_BM, segment_ids_BM
