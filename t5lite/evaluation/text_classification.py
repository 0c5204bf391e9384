"""The class of each of a list of texts, by an encoder-only model with a classifier of sequences."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
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

_NUM_FRAMING = 2
"""[CLS] and [SEP]."""


def classification_rows(
    config: ModelConfig, vocabulary: Vocabulary, inputs: Sequence[str], *, encoder_length: int
) -> list[Row]:
    """Return what the model reads of each text, before its parameters are read.

    Args:
      config: of the model.
      vocabulary: of the model.
      inputs: texts.
      encoder_length: inputs are cut to this many tokens, [CLS] and [SEP] included.

    Raises:
      ConfigError: if they are too long for a learned position table, or the vocabulary cannot frame them.
    """
    if encoder_length <= _NUM_FRAMING:
        raise ConfigError(f"encoder_length={encoder_length} must be at least 3: [CLS], a token, [SEP]")
    _, cls, sep = special_tokens(vocabulary)
    frame = Frame((cls,), (sep,))
    rows = [framed_row(vocabulary.encode(text), frame, encoder_length) for text in inputs]
    longest = max((len(row.ids) for row in rows), default=0)
    if config.position_limit is not None and longest > config.position_limit:
        raise ConfigError(
            f"inputs of {longest} tokens need as many positions, the model has {config.position_limit}; "
            "use a smaller encoder_length"
        )
    return rows


def classify(
    model: FunctionalModel,
    params: Tree,
    rows: Sequence[Row],
    classes: LabelClasses,
    *,
    batch_size: int,
) -> Iterator[Output]:
    """Yield the name of the most probable class for each row, in order.

    Args:
      model: with ``head="sequence_classification"``.
      params: nested dict of parameters.
      rows: of ``classification_rows``.
      classes: of the run; outputs beyond them stand for nothing and are not chosen.
      batch_size: rows at once; the last batch is filled up with the first of its rows.
    """
    num_classes, length = len(classes.texts), max((len(row.ids) for row in rows), default=0)

    @jax.jit
    def best(params: Tree, tokens_BM: jax.Array, segment_ids_BM: jax.Array) -> jax.Array:
        batch = {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": segment_ids_BM}
        return jnp.argmax(model.bind(params)(batch)["sequence"][:, :num_classes], axis=-1)

    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        filled_up = [row.ids for row in chunk] + [chunk[0].ids] * (batch_size - len(chunk))
        numbers_B = np.asarray(best(params, *left_aligned(filled_up, length)))
        for row, number in zip(chunk, numbers_B.tolist(), strict=False):
            yield Output(classes.texts[number], input_cut=row.cut)
