"""The class of each of a list of texts, by an encoder-only model with a classifier of sequences."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.decoding import Row, framed_row, left_aligned
from t5lite.evaluation.text_generation import Output
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated, even_rows

_NUM_FRAMING = 2
"""[CLS] and [SEP]."""


def classification_rows(
    config: ModelConfig,
    vocabulary: Vocabulary,
    inputs: Sequence[str | np.ndarray],
    *,
    encoder_length: int,
) -> list[Row]:
    """Return what the model reads of each text, before its parameters are read.

    Args:
      config: of the model.
      vocabulary: of the model.
      inputs: texts, or their ids.
      encoder_length: inputs are cut to this many tokens, [CLS] and [SEP] included.

    Raises:
      ConfigError: if they are too long for a learned position table, or the vocabulary cannot frame them.
    """
    if encoder_length <= _NUM_FRAMING:
        raise ConfigError(f"encoder_length={encoder_length} must be at least 3: [CLS], a token, [SEP]")
    _, cls, sep = special_tokens(vocabulary)
    frame = Frame((cls,), (sep,))
    encoded = (vocabulary.encode(each) if isinstance(each, str) else each for each in inputs)
    rows = [framed_row(ids, frame, encoder_length) for ids in encoded]
    longest = max((len(row.ids) for row in rows), default=0)
    if config.position_limit is not None and longest > config.position_limit:
        raise ConfigError(
            f"inputs of {longest} tokens need as many positions, the model has {config.position_limit}; "
            "use a smaller encoder_length"
        )
    return rows


class Classifier:
    """The probabilities of classes, in batches of one size; keep it, and it compiles once for each length.

    Args:
      model: with ``head="sequence_classification"``.
      num_classes: outputs beyond them stand for nothing and have no probability.
      batch_size: rows at once; the last batch is filled up with the first of its rows.
      partitioner: where parameters lie; None for one device.
    """

    def __init__(
        self,
        model: FunctionalModel,
        *,
        num_classes: int,
        batch_size: int,
        partitioner: Partitioner | None = None,
    ):
        self._partitioner = partitioner
        self._batch_size = even_rows(batch_size, partitioner)

        def probabilities(params: Tree, tokens_BM: jax.Array, segment_ids_BM: jax.Array) -> jax.Array:
            batch = {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": segment_ids_BM}
            with activated(partitioner):
                return jax.nn.softmax(model.bind(params)(batch)["sequence"][:, :num_classes])

        # Every process of several reads all of them, of which its devices would hold a part.
        self._probabilities = jax.jit(
            probabilities, out_shardings=partitioner.replicated if partitioner else None
        )

    def __call__(self, params: Tree, rows: Sequence[Row]) -> Iterator[np.ndarray]:
        """Yield the probabilities of each row of ``classification_rows``, float32 [num_classes], in order."""
        length = max((len(row.ids) for row in rows), default=0)
        for start in range(0, len(rows), self._batch_size):
            chunk = rows[start : start + self._batch_size]
            filled_up = [row.ids for row in chunk] + [chunk[0].ids] * (self._batch_size - len(chunk))
            arrays = left_aligned(filled_up, length)
            if self._partitioner is not None:
                arrays = jax.device_put(arrays, self._partitioner.batch_sharding)
            yield from np.asarray(self._probabilities(params, *arrays))[: len(chunk)]


def classify(
    model: FunctionalModel,
    params: Tree,
    rows: Sequence[Row],
    classes: LabelClasses,
    *,
    batch_size: int,
) -> Iterator[Output]:
    """Yield the name of the most probable class for each row, in order; arguments as of ``Classifier``."""
    classifier = Classifier(model, num_classes=len(classes.texts), batch_size=batch_size)
    for row, probabilities_C in zip(rows, classifier(params, rows), strict=True):
        yield Output(classes.texts[int(probabilities_C.argmax())], input_cut=row.cut)
