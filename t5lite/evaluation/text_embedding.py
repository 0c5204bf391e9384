"""One vector for each text of a list, in a few compiled shapes whatever their lengths."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.decoding import left_aligned
from t5lite.evaluation.length_buckets import UNBOUNDED, Bucket, buckets
from t5lite.models.config import Pooling
from t5lite.models.functional import FunctionalModel
from t5lite.models.layers.pooling import normalised, pooled
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated, even_rows

_BATCHES_SORTED = 16
"""Whose texts are sorted by length; their vectors come when all are there."""


class TextEmbedder:
    """Pools what a stack makes of texts: an encoder, or a decoder that stands alone.

    Keep the object to embed repeatedly without compiling again.

    Args:
      model: the functional model that ``params`` belong to; of an encoder-decoder the encoder is read.
      pooling: how hidden states become one vector.
      normalises: whether vectors have length 1, so that products are cosines.
      batch_size: texts at once; the last batch is filled up.
      partitioner: where ``params`` lie; None for one device.
    """

    def __init__(
        self,
        model: FunctionalModel,
        *,
        pooling: Pooling,
        normalises: bool,
        batch_size: int,
        partitioner: Partitioner | None = None,
    ):
        self._batch_size, self._partitioner = even_rows(batch_size, partitioner), partitioner
        self._most = model.config.position_limit or UNBOUNDED
        self.width = model.config.stacks[0].embed_dim

        def embed(params: Tree, tokens_BM: jax.Array, segment_ids_BM: jax.Array) -> jax.Array:
            with activated(partitioner):
                hidden_BMD = model.bind(params).encode(tokens_BM, segment_ids_BM=segment_ids_BM)
            # A prompt that was trained stands before the text, and is no part of it.
            text_BMD = hidden_BMD[:, hidden_BMD.shape[1] - tokens_BM.shape[1] :]
            vectors_BD = pooled(text_BMD, segment_ids_BM > 0, pooling)
            return normalised(vectors_BD) if normalises else vectors_BD

        # Every process of several reads all vectors, of which its devices would hold a part.
        self._embed = jax.jit(embed, out_shardings=partitioner.replicated if partitioner else None)

    def __call__(self, params: Tree, rows: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the vector of each row of ids, float32 [D], in order; while one batch is read, the next runs.

        Args:
          params: of the model.
          rows: with what frames a text; one without ids has zeros.
        """
        window = _BATCHES_SORTED * self._batch_size
        for start in range(0, len(rows), window):
            yield from self._window(params, rows[start : start + window])

    def _window(self, params: Tree, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: dict[int, np.ndarray] = {}
        waiting: list[tuple[Bucket, jax.Array]] = []
        for bucket in buckets([len(row) for row in rows], batch_size=self._batch_size, most=self._most):
            waiting.append((bucket, self._dispatched(params, bucket, rows)))
            if len(waiting) > 1:
                found |= _read(*waiting.pop(0))
        for batch in waiting:
            found |= _read(*batch)
        return [found[number] for number in range(len(rows))]

    def _dispatched(self, params: Tree, bucket: Bucket, rows: Sequence[np.ndarray]) -> jax.Array:
        numbers = bucket.numbers + bucket.numbers[:1] * (self._batch_size - len(bucket.numbers))
        arrays: Any = left_aligned([rows[number] for number in numbers], bucket.length)
        if self._partitioner is not None:
            arrays = jax.device_put(arrays, self._partitioner.batch_sharding)
        return self._embed(params, *arrays)


def _read(bucket: Bucket, vectors_BD: jax.Array) -> dict[int, np.ndarray]:
    return dict(zip(bucket.numbers, np.asarray(vectors_BD), strict=False))
