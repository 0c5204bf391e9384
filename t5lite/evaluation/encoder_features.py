"""Frozen features of texts: what an encoder has after one of its layers, averaged over a text's tokens."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.evaluation.text_embedding import TextEmbedder
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.layers.groups import structure_groups

_NUM_LAYERS = {"encoder_only": "num_layers", "encoder_decoder": "num_encoder_layers"}
"""What says how deep an encoder is."""


def check_has_encoder(config: ModelConfig) -> None:
    """Check that a model has an encoder.

    Raises:
      ConfigError: if not.
    """
    if config.architecture not in _NUM_LAYERS:
        raise ConfigError("a decoder-only model has no encoder, whose features are probed; give one that has")


def num_encoder_layers(model: FunctionalModel) -> int:
    """Return how many layers the encoder has.

    Raises:
      ConfigError: if there is no encoder.
    """
    check_has_encoder(model.config)
    return getattr(model.config, _NUM_LAYERS[model.config.architecture])


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
        self._cut = build(config, model.execution)
        self._embedder = TextEmbedder(self._cut, pooling="mean", normalises=False, batch_size=batch_size)
        (spec,) = (stack for stack in config.stacks if stack.side == "encoder")
        self._layers = {name: len(numbers) for name, numbers in structure_groups(spec).layers.items()}

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
        return np.stack(list(self._embedder({**params, "encoder": first}, rows)))
