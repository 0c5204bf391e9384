"""Vectors of texts by a run, for retrieval and comparison."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError
from t5lite.decoding import Row, framed_row
from t5lite.evaluation.text_embedding import TextEmbedder
from t5lite.models.config import ModelConfig, Pooling
from t5lite.partitioning import make_partitioner
from t5lite.runner.averages import Average
from t5lite.runner.generation import generation_partitioning
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.text_frames import text_frame, trained_length

_NO_TEXT = Row(np.zeros(0, np.int32), 0)


@dataclass(frozen=True)
class Embedding:
    """An embedding of texts that has been checked and is about to begin."""

    vectors: Iterator[np.ndarray]
    """One of each text, float32 [width], in order; to take the first compiles."""
    width: int
    pooling: Pooling
    step: int
    """Of the checkpoint."""
    length: int
    """Texts are cut to so many tokens, special ones included."""
    limit: int | None
    """Most tokens that the model has positions for; None where they do not end."""
    num_tokens: tuple[int, ...]
    """Of each text before it was cut; 0 of one without."""
    trained_length: int | None = None
    """Tokens that texts were cut to where the run was trained to embed; None where it was not."""


def embed(
    run: str | Path,
    texts: Sequence[str],
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    pooling: Pooling | None = None,
    normalise: bool = True,
    max_length: int | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Return the vectors of texts, float32 [N, D]; arguments as of ``start_embedding``."""
    embedding = start_embedding(
        run,
        texts,
        step=step,
        average=average,
        weights=weights,
        pooling=pooling,
        normalise=normalise,
        max_length=max_length,
        batch_size=batch_size,
    )
    return np.array(list(embedding.vectors), np.float32).reshape(len(texts), embedding.width)


def start_embedding(
    run: str | Path,
    texts: Sequence[str],
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    pooling: Pooling | None = None,
    normalise: bool = True,
    max_length: int | None = None,
    batch_size: int = 32,
) -> Embedding:
    """Check a run, load a checkpoint, and return what embeds.

    An encoder-decoder's encoder is read, a decoder that stands alone, or an encoder. Special tokens count as
    those of the text, as in sentence-transformers. A text of white space alone has zeros, which are like
    nothing.

    Args:
      run: run directory, of a training or an import.
      texts: to embed.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters (``runner.averages``).
      weights: as of ``load_trained``.
      pooling: how hidden states become one vector; None: what the run was trained by, or the mean.
      normalise: whether vectors have length 1.
      max_length: texts are cut to so many tokens, special ones included; None: as in a training to embed, or
        what the model was made for.
      batch_size: texts at once.

    Raises:
      UserError: if a length or size is out of range, the pooling says nothing of this model, or the run
        directory or its checkpoint cannot be used.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be 1 or more")
    found = Snapshot(RunDirectory.at(run))
    config, vocabulary = found.model.narrowed, found.vocabulary
    pooling = pooling or config.pooling
    _check_pooling(config, pooling)
    trained_on = trained_length(found)
    length = _length(config, max_length, trained_on)
    frame = text_frame(config, vocabulary, is_imported=found.is_imported)
    encoded = vocabulary.encode_batch(texts)
    rows = [
        framed_row(ids, frame, length) if text.strip() else _NO_TEXT
        for text, ids in zip(texts, encoded, strict=True)
    ]
    partitioner = make_partitioner(generation_partitioning(config, jax.device_count()))
    trained = load_trained(found, partitioner, step=step, average=average, weights=weights)
    embedder = TextEmbedder(
        trained.model,
        pooling=pooling,
        normalises=normalise,
        batch_size=batch_size,
        partitioner=partitioner,
    )
    return Embedding(
        vectors=embedder(trained.params, [row.ids for row in rows]),
        width=embedder.width,
        pooling=pooling,
        step=trained.step,
        length=length,
        limit=config.position_limit,
        num_tokens=tuple(row.num_tokens for row in rows),
        trained_length=trained_on,
    )


def _check_pooling(config: ModelConfig, pooling: Pooling) -> None:
    """Check that what is pooled has read the text."""
    if pooling == "cls" and config.writes and not config.cross_attends:
        raise ConfigError(
            "pooling=cls takes the first token, which has read nothing of what follows in a decoder-only "
            "model; use mean or last"
        )


def _length(config: ModelConfig, max_length: int | None, trained_on: int | None) -> int:
    if max_length is None:
        return trained_on or config.max_length
    if max_length < 1:
        raise ConfigError(f"max_length={max_length} must be 1 or more")
    config.check_length(max_length)
    return max_length
