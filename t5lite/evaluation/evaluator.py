"""Held-out loss, perplexity and encoder use over batches."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.metrics import WeightedSum
from t5lite.core.types import Batch, Tree

EvalStep = Callable[[Tree, Batch], Mapping[str, WeightedSum]]
ENCODER_FIELDS = ("encoder_input_tokens", "encoder_segment_ids")


class Rows(NamedTuple):
    """What a metric is a mean of, float64 [N]: of each example if the step says it, else of a batch."""

    totals: np.ndarray
    weights: np.ndarray

    def mean(self) -> float:
        """Return the weighted mean; 0 where nothing has weight."""
        weight = self.weights.sum()
        return float(self.totals.sum() / weight) if weight else 0.0


@dataclass(frozen=True)
class Measured:
    """What held-out batches say.

    Attributes:
      means: of every metric, with ``perplexity`` and maybe ``encoder_use``.
      rows: what they are means of, in the order of the batches; rows that only fill up come last.
    """

    means: dict[str, float]
    rows: Mapping[str, Rows]


def evaluate_loss(
    eval_step: EvalStep, params: Tree, batches: Iterable[Batch], *, measure_encoder_use: bool = False
) -> dict[str, float]:
    """Return the means of ``measure``."""
    return measure(eval_step, params, batches, measure_encoder_use=measure_encoder_use).means


def measure(
    eval_step: EvalStep,
    params: Tree,
    batches: Iterable[Batch],
    *,
    measure_encoder_use: bool = False,
    has_likelihood: bool = True,
) -> Measured:
    """Return the weighted mean of every metric over ``batches``, plus ``perplexity = exp(loss)``.

    Args:
      eval_step: ``training.make_eval_step``'s function, compiled, whose metrics are sums over the global
        batch, or ``training.make_row_step``'s, of which they are sums over its rows.
      params: the nested dict of parameters.
      batches: one pass over the data; rows that only fill up the last batch carry weight 0.
      measure_encoder_use: also return ``encoder_use`` (see the function of that name), for a second
        forward pass over every batch; of encoder-decoder models only.
      has_likelihood: whether the loss is one, so that there is a perplexity.

    Raises:
      DataError: if the batches carry no weight at all.
    """
    found: dict[str, list[WeightedSum]] = {}
    shared, swapped = [], []
    for plain, rolled, num_real in _one_step_late(_passes(eval_step, params, batches, measure_encoder_use)):
        for name, value in plain.items():
            found.setdefault(name, []).append(value)
        if rolled is not None and num_real > 1:
            shared.append(plain["loss"])
            swapped.append(rolled["loss"])
    rows = {name: _joined(values) for name, values in found.items()}
    if not rows or rows["loss"].weights.sum() == 0:
        raise DataError("nothing to evaluate: the held-out batches hold no target token")
    means = {name: value.mean() for name, value in rows.items()}
    if has_likelihood:
        means["perplexity"] = math.inf if means["loss"] >= 700 else math.exp(means["loss"])  # NaN of NaN
    if measure_encoder_use:
        if not shared:
            raise DataError(
                "encoder use swaps inputs between examples, but no batch has two; evaluate "
                "with a larger batch or on more examples"
            )
        means["encoder_use"] = _joined(swapped).mean() - _joined(shared).mean()
    return Measured(means, rows)


def _joined(values: Iterable[WeightedSum]) -> Rows:
    totals, weights = zip(*values, strict=True)
    return Rows(np.concatenate(totals), np.concatenate(weights))


def encoder_use(eval_step: EvalStep, params: Tree, batches: Iterable[Batch]) -> float:
    """Return how many nats per token the loss rises when every example gets its neighbour's encoder input.

    Within each batch the encoder's tokens and segment ids are rolled by one row among the rows that carry
    weight, targets stay. A model that ignores its encoder, a plain language model of the targets, shows 0.
    A batch with a single real row has nobody to swap with and is left out of both losses.

    Raises:
      DataError: if no batch has two real rows.
    """
    return evaluate_loss(eval_step, params, batches, measure_encoder_use=True)["encoder_use"]


def _rolled_rows(fields: dict[str, jax.Array], weights_BL: jax.Array) -> dict[str, jax.Array]:
    """Return the fields with the rows that carry weight rolled by one among themselves."""
    real_B = jnp.any(weights_BL > 0, axis=1)
    num_real = jnp.sum(real_B)
    order_B = jnp.argsort(~real_B, stable=True)  # the real rows first, in their order
    rank_B = jnp.arange(order_B.size)
    donor_B = jnp.where(rank_B < num_real, order_B[(rank_B - 1) % jnp.maximum(num_real, 1)], order_B)
    source_B = jnp.zeros_like(order_B).at[order_B].set(donor_B)
    return {name: jnp.take(field, source_B, axis=0) for name, field in fields.items()}


@functools.lru_cache(maxsize=8)
def _compiled_roll(shardings: tuple[tuple[str, jax.sharding.Sharding], ...]) -> Callable[..., dict[str, Any]]:
    """Return ``_rolled_rows`` compiled for one layout of the batch, which may span several hosts."""
    return jax.jit(_rolled_rows, out_shardings=dict(shardings) if shardings else None)


@jax.jit
def _num_real_rows(weights_BL: jax.Array) -> jax.Array:
    return jnp.sum(jnp.any(weights_BL > 0, axis=1))


def with_rolled_encoder(batch: Batch) -> Batch:
    """Return ``batch`` with encoder tokens and segment ids rolled by one row among its real rows.

    ``jax.Array`` fields keep their sharding, since a compiled step accepts no other; NumPy fields stay NumPy.
    """
    fields: dict[str, Any] = {name: batch[name] for name in ENCODER_FIELDS if name in batch}
    on_device = all(isinstance(field, jax.Array) for field in fields.values())
    shardings = tuple((name, field.sharding) for name, field in fields.items()) if on_device else ()
    rolled = _compiled_roll(shardings)(fields, batch["decoder_loss_weights"])
    return {**batch, **(rolled if on_device else jax.device_get(rolled))}


def _passes(
    eval_step: EvalStep, params: Tree, batches: Iterable[Batch], measure_encoder_use: bool
) -> Iterator[tuple[Mapping[str, WeightedSum], Mapping[str, WeightedSum] | None, jax.Array | int]]:
    """Yield each batch's metrics as it is and, where asked, with the encoder rolled, and its real rows.

    Everything is left on the devices. To look at the number of real rows here would wait for them; so a
    batch that has nobody to swap with is rolled in vain.
    """
    for batch in batches:
        plain = eval_step(params, batch)
        if measure_encoder_use:
            num_real = _num_real_rows(batch["decoder_loss_weights"])
            yield plain, eval_step(params, with_rolled_encoder(batch)), num_real
        else:
            yield plain, None, 0


def _one_step_late(results: Iterable[Any]) -> Iterator[Any]:
    """Fetch each result (as float64 [N]) after the next was dispatched, so the device never waits."""
    waiting: list[Any] = []
    for result in results:
        waiting.append(result)
        if len(waiting) > 1:
            yield _fetched(waiting.pop(0))
    yield from map(_fetched, waiting)


def _fetched(result: Any) -> Any:
    # In float64 thousands of batches are added without loss.
    return jax.tree.map(lambda value: np.atleast_1d(np.asarray(value, np.float64)), jax.device_get(result))
