"""What a model of each architecture predicts, and which fields of the batch say what is right."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.core.types import Batch
from t5lite.models.config import EncoderOnlyConfig, Head, ModelConfig
from t5lite.models.layers.logits import LogitFactors

_OUTPUTS: dict[Head, tuple[str, ...]] = {
    "masked_lm": ("tokens",),
    "pretraining": ("tokens", "sequence"),
    "sequence_classification": ("sequence",),
    "token_classification": ("labels",),
    "span_extraction": ("starts", "ends"),
}
"""The outputs of ``EncoderOnly`` that a loss is taken of, the main one first."""

_LABEL_FIELDS = {"sequence": "sequence_labels", "starts": "span_starts", "ends": "span_ends"}
"""Where there is one label a row; a negative one has no weight."""


class Target(NamedTuple):
    """What is right of one output; ``[B, 1]`` for an output with one label a row."""

    name: str
    targets_BL: jax.Array
    weights_BL: jax.Array


class Prediction(NamedTuple):
    """One output beside its target."""

    name: str
    logits: LogitFactors | jax.Array
    """``[B, L, V]``, over a vocabulary not multiplied out."""
    targets_BL: jax.Array
    weights_BL: jax.Array


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the outputs that a loss is taken of, the main one first.

    Raises:
      ConfigError: for a head that predicts nothing.
    """
    if not isinstance(config, EncoderOnlyConfig):
        return ("tokens",)
    if config.head not in _OUTPUTS:
        raise ConfigError(
            f"model.head={config.head!r} predicts nothing that could be right or wrong; use one of "
            f"{', '.join(_OUTPUTS)}"
        )
    return _OUTPUTS[config.head]


def accuracy_name(output: str) -> str:
    """Return what the accuracy of an output is called, by what it is a share of.

    ``accuracy`` is of rows (texts that a head classifies), as of the texts that a model writes;
    ``token_accuracy`` is of target tokens, each predicted from the right ones before it.
    """
    return "accuracy" if output in _LABEL_FIELDS else "token_accuracy"


def targets(config: ModelConfig, batch: Batch) -> list[Target]:
    """Return the target of every output, the main one first; the model is not run."""
    return [_target(config, name, batch) for name in output_names(config)]


def predictions(model: Any, batch: Batch, *, dropout_key: jax.Array | None = None) -> list[Prediction]:
    """Run a bound module (``FunctionalModel.bind``) and return its outputs beside their targets."""
    outputs = model.outputs(batch, dropout_key=dropout_key)
    return [
        Prediction(target.name, _with_length(outputs[target.name]), target.targets_BL, target.weights_BL)
        for target in targets(model.config, batch)
    ]


def num_real_tokens(batch: Batch) -> jax.Array:
    """Return how many positions of the model's inputs are not padding, int32.

    Segment ids say it. Without them an encoder's row is full, and a decoder's padding has no loss weight.
    """
    count = jnp.zeros((), jnp.int32)
    for side in ("encoder", "decoder"):
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


def _target(config: ModelConfig, name: str, batch: Batch) -> Target:
    if name in _LABEL_FIELDS:
        labels_B1 = jnp.asarray(batch[_LABEL_FIELDS[name]])[:, None]
        return Target(name, jnp.maximum(labels_B1, 0), (labels_B1 >= 0).astype(jnp.float32))
    side = "encoder" if isinstance(config, EncoderOnlyConfig) else "decoder"
    return Target(
        name, jnp.asarray(batch[f"{side}_target_tokens"]), jnp.asarray(batch[f"{side}_loss_weights"])
    )


def _with_length(logits: LogitFactors | jax.Array) -> LogitFactors | jax.Array:
    """Return ``[B, L, V]``: one label a row is a sequence of one."""
    return logits[:, None] if isinstance(logits, jax.Array) and logits.ndim == 2 else logits
