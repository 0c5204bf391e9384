"""Cross-entropy, z-loss and accuracy of one batch, or squared errors, as float32 (sum, weight) pairs."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.metrics import WeightedSum, weighted_sum
from t5lite.models.config import LossKind
from t5lite.models.layers.logits import LogitFactors
from t5lite.training.logit_statistics import LogitStatistics, logit_statistics
from t5lite.training.predictions import Prediction, Target


class OutputLosses(NamedTuple):
    """What an output of one batch says about its targets. All pairs share one weight: target tokens."""

    objective: WeightedSum
    """What is differentiated: (smoothed) cross-entropy plus z-loss, or squared errors."""
    loss: WeightedSum
    """The loss that is reported: plain cross-entropy in nats per token, without smoothing and z-loss, or
    squared errors."""
    z_loss: WeightedSum
    accuracy: WeightedSum
    """Of numbers, none is counted."""


class BatchLosses(NamedTuple):
    """The losses of all outputs of a model on one batch, or on a part of it."""

    objective: WeightedSum
    """What is differentiated; its mean over the whole batch is the sum of the outputs' means."""
    outputs: tuple[OutputLosses, ...]
    """In the order of the configuration's ``outputs``, the main one first."""

    @classmethod
    def zeros(cls, num_outputs: int) -> "BatchLosses":
        """Return the losses of no rows."""
        nothing = WeightedSum(jnp.zeros(()), jnp.zeros(()))
        return cls(nothing, (OutputLosses(nothing, nothing, nothing, nothing),) * num_outputs)


def loss_factors(targets: Sequence[Target]) -> list[jax.Array | float]:
    """Return the factor of each output's sum in the objective: weight of the main one by its own weight.

    Args:
      targets: of the whole batch, all microbatches together; then the objective of a part is a plain sum,
        and the parts add up to the objective of the whole whatever their weights.
    """
    weights = [jnp.sum(target.weights_BL.astype(jnp.float32)) for target in targets]
    others = (weights[0] / jnp.maximum(weight, 1e-6) for weight in weights[1:])
    return [1.0, *others]


def batch_losses(
    predictions: Sequence[Prediction],
    factors: Sequence[jax.Array | float],
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    vocab_chunks: int | None = None,
) -> BatchLosses:
    """Return the losses of every output and the objective, the outputs' sums times ``factors``.

    Z-loss and label smoothing are for the main output; BERT's second one, of two classes, has neither.
    """
    main, *others = predictions
    losses = [
        _LOSSES[main.loss](
            main.logits,
            main.targets_BL,
            main.weights_BL,
            z_loss=z_loss,
            label_smoothing=label_smoothing,
            vocab_chunks=vocab_chunks,
        ),
        *(_LOSSES[other.loss](other.logits, other.targets_BL, other.weights_BL) for other in others),
    ]
    total = losses[0].objective.total
    for factor, loss in zip(factors[1:], losses[1:], strict=True):
        total += factor * loss.objective.total
    return BatchLosses(WeightedSum(total, losses[0].objective.weight), tuple(losses))


def token_losses(
    logits: LogitFactors | jax.Array,
    targets_BL: jax.Array,
    weights_BL: jax.Array,
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    vocab_chunks: int | None = None,
) -> OutputLosses:
    """Return the losses of ``targets_BL`` under ``[B, L, V]`` logits, summed over tokens with their weights.

    Follows T5X ``compute_weighted_cross_entropy``: the z-loss is ``z_loss * log(Z)**2`` per token, and the
    smoothed target gives ``1 - label_smoothing`` to the label and shares the rest among the other ids, less
    the entropy of that target so that the best value is 0. It deviates in three ways: sums and weights are
    kept apart; the label's logit is taken by a masked sum, which XLA fuses into the reductions (no one-hot
    array, no gather across a sharded vocabulary); a token counts as accurate when the label's logit exceeds
    every other. A tie is a miss, as is whatever is not finite: equal logits tell nothing apart, and an argmax
    would make hits of them where the label comes first.

    Args:
      logits: computed upon in float32, whatever their dtype.
      targets_BL: ids in ``[0, V)``; where the weight is 0 any id of that range.
      weights_BL: 0 on padding.
      z_loss: coefficient of the squared log-partition function.
      label_smoothing: in ``[0, 1)``.
      vocab_chunks: see ``logit_statistics``.
    """
    statistics = logit_statistics(logits, targets_BL, num_chunks=vocab_chunks)
    nll_BL, accurate_BL = nll_and_hits(statistics)
    z_loss_BL = z_loss * jnp.square(statistics.log_z)
    smoothed_BL = nll_BL
    if label_smoothing:
        vocab_size = logits.vocab_size if isinstance(logits, LogitFactors) else logits.shape[-1]
        smoothed_BL = _smoothed(nll_BL, statistics, label_smoothing, vocab_size)
    return OutputLosses(
        objective=weighted_sum(smoothed_BL + z_loss_BL, weights_BL),
        loss=weighted_sum(nll_BL, weights_BL),
        z_loss=weighted_sum(z_loss_BL, weights_BL),
        accuracy=weighted_sum(accurate_BL, weights_BL),
    )


def nll_and_hits(statistics: LogitStatistics) -> tuple[jax.Array, jax.Array]:
    """Return the cross-entropy of each target in nats, and whether it is accurate (``token_losses``)."""
    accurate_BL = (statistics.target > statistics.runner_up) & jnp.isfinite(statistics.log_z)
    return statistics.log_z - statistics.target, accurate_BL


def losses_and_hits(prediction: Prediction) -> tuple[jax.Array, jax.Array]:
    """Return the loss of each target of an output, and whether it is accurate, which no number is."""
    return _ROW_LOSSES[prediction.loss](prediction)


def _errors_of_each(prediction: Prediction) -> tuple[jax.Array, jax.Array]:
    errors_BL = jnp.asarray(prediction.logits)[..., 0].astype(jnp.float32) - prediction.targets_BL
    return jnp.square(errors_BL), jnp.zeros_like(errors_BL)


_ROW_LOSSES: Mapping[LossKind, Callable[[Prediction], tuple[jax.Array, jax.Array]]] = {
    "cross_entropy": lambda prediction: nll_and_hits(
        logit_statistics(prediction.logits, prediction.targets_BL, num_chunks=None)
    ),
    "squared_error": _errors_of_each,
}
_ROW_LOSSES |= dict.fromkeys(("contrast", "symmetric_contrast"), _ROW_LOSSES["cross_entropy"])


def text_weights(
    targets_BL: jax.Array, weights_BL: jax.Array, *, sentinel_ids: np.ndarray, eos_id: int | None
) -> jax.Array:
    """Return the weights of targets that are text, and 0 of the others, EOS and sentinels."""
    is_text_BL = ~jnp.isin(targets_BL, sentinel_ids)
    if eos_id is not None:
        is_text_BL &= targets_BL != eos_id
    return weights_BL * is_text_BL


def squared_errors(
    numbers: LogitFactors | jax.Array, targets_BL: jax.Array, weights_BL: jax.Array, **options: object
) -> OutputLosses:
    """Return the squared errors of ``[B, L, 1]`` numbers; their mean is PyTorch's ``MSELoss``.

    Args:
      numbers: what is predicted.
      targets_BL: what is right, float32.
      weights_BL: 0 where there is none.
      options: those of ``token_losses``, which are of distributions and have no meaning here.
    """
    del options
    errors = weighted_sum(
        jnp.square(jnp.asarray(numbers)[..., 0].astype(jnp.float32) - targets_BL), weights_BL
    )
    nothing = jnp.zeros(())
    return OutputLosses(
        objective=errors,
        loss=errors,
        z_loss=WeightedSum(nothing, errors.weight),
        accuracy=WeightedSum(nothing, nothing),
    )


def contrasts(
    similarities: LogitFactors | jax.Array, targets_BL: jax.Array, weights_BL: jax.Array, **options: object
) -> OutputLosses:
    """Return the cross-entropy of ``[B, L, C]`` similarities (``layers.contrast``); arguments as above."""
    del options
    return token_losses(similarities, targets_BL, weights_BL)


_LOSSES: Mapping[LossKind, Callable[..., OutputLosses]] = {
    "cross_entropy": token_losses,
    "squared_error": squared_errors,
    "contrast": contrasts,
    "symmetric_contrast": contrasts,
}


def _smoothed(nll_BL: jax.Array, statistics: LogitStatistics, smoothing: float, vocab_size: int) -> jax.Array:
    """Return the cross-entropy with the smoothed target, less that target's entropy."""
    confidence, low = 1.0 - smoothing, smoothing / (vocab_size - 1)
    nll_sum_BL = vocab_size * statistics.log_z - statistics.total  # of every id as if it were the label
    entropy = -(confidence * jnp.log(confidence) + smoothing * jnp.log(low))
    return confidence * nll_BL + low * (nll_sum_BL - nll_BL) - entropy
