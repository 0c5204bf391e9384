"""Frozen features of texts: what an encoder has after one of its layers, averaged over a text's tokens."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.decoding import left_aligned
from t5lite.evaluation.length_buckets import UNBOUNDED, buckets
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.layers.groups import structure_groups

_NUM_LAYERS = {"encoder_only": "num_layers", "encoder_decoder": "num_encoder_layers"}
"""What says how deep an encoder is."""


def num_encoder_layers(model: FunctionalModel) -> int:
    """Return how many layers the encoder has.

    Raises:
      ConfigError: if there is no encoder.
    """
    field = _NUM_LAYERS.get(model.config.architecture)
    if field is None:
        raise ConfigError("a decoder-only model has no encoder, whose features are probed; give one that has")
    return getattr(model.config, field)


class EncoderFeatures:
    """The features after one layer, by a model that ends there; its own norm at the end, if any, is kept.

    Args:
      model: with an encoder.
      layer: from 1 to ``num_encoder_layers``.
      batch_size: rows at once.
    """

    def __init__(self, model: FunctionalModel, *, layer: int, batch_size: int):
        changes = {_NUM_LAYERS[model.config.architecture]: layer}
        config = dataclasses.replace(model.config, **changes)
        self._cut, self._batch_size = build(config, model.execution), batch_size
        self._most = config.position_limit or UNBOUNDED
        (spec,) = (stack for stack in config.stacks if stack.side == "encoder")
        self._layers = {name: len(numbers) for name, numbers in structure_groups(spec).layers.items()}

        def features(params: Tree, tokens_BM: jax.Array, segment_ids_BM: jax.Array) -> jax.Array:
            hidden_BMD = self._cut.bind(params).encode(tokens_BM, segment_ids_BM=segment_ids_BM)
            is_token_BM1 = (segment_ids_BM > 0)[:, :, None]
            total_BD = jnp.sum(jnp.where(is_token_BM1, hidden_BMD.astype(jnp.float32), 0), axis=1)
            return total_BD / jnp.sum(is_token_BM1, axis=1)

        self._features = jax.jit(features)

    def __call__(self, params: Tree, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Return the features of framed rows of ids, float32 [N, D].

        Args:
          params: of the whole model.
          rows: none empty.
        """
        first = {
            name: jax.tree.map(lambda leaf, count=self._layers[name]: leaf[:count], part)
            if name in self._layers
            else part
            for name, part in params["encoder"].items()
            if name in self._cut.abstract_params["encoder"]
        }
        cut = {**params, "encoder": first}
        found: dict[int, np.ndarray] = {}
        for bucket in buckets([len(row) for row in rows], batch_size=self._batch_size, most=self._most):
            numbers = list(bucket.numbers)
            filled_up = numbers + numbers[:1] * (self._batch_size - len(numbers))
            arrays = left_aligned([rows[number] for number in filled_up], bucket.length)
            found |= zip(numbers, np.asarray(self._features(cut, *arrays)), strict=False)
        return np.stack([found[number] for number in range(len(rows))])
