"""What a model of each architecture predicts, and which fields of the batch say what is right."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.batch_fields import SIDES
from t5lite.core.types import Batch
from t5lite.models.config import LossKind, ModelConfig, Output
from t5lite.models.layers.logits import LogitFactors


class Target(NamedTuple):
    """What is right of one output; ``[B, 1]`` for an output with one label a row, ``[B, 2]`` with two."""

    name: str
    targets_BL: jax.Array
    weights_BL: jax.Array
    loss: LossKind = "cross_entropy"


class Prediction(NamedTuple):
    """One output beside its target."""

    name: str
    logits: LogitFactors | jax.Array
    """``[B, L, V]``, over a vocabulary not multiplied out; of numbers ``[B, L, 1]``, these themselves."""
    targets_BL: jax.Array
    weights_BL: jax.Array
    loss: LossKind = "cross_entropy"


def targets(config: ModelConfig, batch: Batch) -> list[Target]:
    """Return the target of every output, the main one first; the model is not run.

    Raises:
      ConfigError: for a head that predicts nothing.
    """
    return [_target(output, batch) for output in config.outputs]


def predictions(model: Any, batch: Batch, *, dropout_key: jax.Array | None = None) -> list[Prediction]:
    """Run a bound module (``FunctionalModel.bind``) and return its outputs beside their targets."""
    outputs = model.outputs(batch, dropout_key=dropout_key)
    return [
        Prediction(
            target.name,
            _with_length(outputs[target.name]),
            target.targets_BL,
            target.weights_BL,
            target.loss,
        )
        for target in targets(model.config, batch)
    ]


def num_real_tokens(batch: Batch) -> jax.Array:
    """Return how many positions of the model's inputs are not padding, int32.

    Segment ids say it. Without them an encoder's row is full, and a decoder's padding has no loss weight.
    """
    count = jnp.zeros((), jnp.int32)
    for side in SIDES:
        if f"{side}_input_tokens" not in batch:
            continue
        if f"{side}_segment_ids" in batch:
            real = jnp.asarray(batch[f"{side}_segment_ids"]) != 0
        elif side == "decoder":
            real = jnp.asarray(batch["decoder_loss_weights"]) > 0
        else:
            real = jnp.ones(batch["encoder_input_tokens"].shape, bool)
        count += jnp.sum(real, dtype=jnp.int32)
    return count


def _target(output: Output, batch: Batch) -> Target:
    targets = jnp.asarray(batch[output.targets])
    if output.weights is not None:
        return Target(output.name, targets, jnp.asarray(batch[output.weights]), output.loss)
    known_BL, is_there_BL = _KNOWN[output.loss](targets if targets.ndim > 1 else targets[:, None])
    return Target(output.name, known_BL, is_there_BL.astype(jnp.float32), output.loss)


def _own_rows(numbers_BL: jax.Array) -> jax.Array:
    """Return for each anchor, and each positive, which row has its other half: its own."""
    return jnp.broadcast_to(jnp.arange(len(numbers_BL))[:, None], numbers_BL.shape)


_KNOWN: Mapping[LossKind, Callable[[jax.Array], tuple[jax.Array, jax.Array]]] = {
    "cross_entropy": lambda labels_BL: (jnp.maximum(labels_BL, 0), labels_BL >= 0),
    "squared_error": lambda numbers_BL: (
        jnp.where(jnp.isfinite(numbers_BL), numbers_BL, 0),
        jnp.isfinite(numbers_BL),
    ),
    "contrast": lambda numbers_BL: (_own_rows(numbers_BL[:, :1]), numbers_BL[:, :1] >= 0),
    "symmetric_contrast": lambda numbers_BL: (_own_rows(numbers_BL), numbers_BL >= 0),
}
"""Targets of rows with something in the place of those that are not there, and which are."""


def _with_length(logits: LogitFactors | jax.Array) -> LogitFactors | jax.Array:
    """Return ``[B, L, V]``: one label a row is a sequence of one."""
    return logits[:, None] if isinstance(logits, jax.Array) and logits.ndim == 2 else logits
