"""The training step and the evaluation step: pure functions over (state, batch), compiled once.

``make_*`` return plain functions, for tests and ahead-of-time planning; ``compile_*`` put the same
functions under ``jax.jit`` with the partitioner's shardings and donated state.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from t5lite.core.errors import ConfigError
from t5lite.core.metrics import WeightedSum
from t5lite.core.types import EOS_ID, Tree
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.optim.base import global_norm
from t5lite.optim.trained import merged
from t5lite.partitioning import Partitioner, constrain
from t5lite.partitioning.compiler_options import as_compiler_options
from t5lite.partitioning.rules import active_partitioner
from t5lite.training.config import StepConfig
from t5lite.training.losses import BatchLosses, batch_losses, loss_factors, text_weights, token_losses
from t5lite.training.predictions import (
    num_real_tokens,
    predictions,
    targets,
)
from t5lite.training.state import TrainState, state_shardings

DeviceBatch: TypeAlias = Mapping[str, jax.Array]
"""A batch (``core.types``) that the host loader has put on its devices."""
Metrics: TypeAlias = dict[str, Any]
TrainStep: TypeAlias = Callable[[TrainState, DeviceBatch], tuple[TrainState, Metrics]]
EvalStep: TypeAlias = Callable[[Tree, DeviceBatch], dict[str, WeightedSum]]


def check_param_dtype(model: FunctionalModel, optimizer: Optimizer) -> None:
    """Check that what is trained is of a dtype that small updates reach; what is frozen may be of any.

    Raises:
      ConfigError: for bfloat16. An update below 2**-8 of a number rounds away, which is nearly every update
        of a norm's scale and most others once the learning rate falls. A float32 copy in the optimizer state
        would take the memory that bfloat16 saves, and more.
    """
    trained = jax.tree.leaves(optimizer.trained(model.abstract_params))
    param_dtype = model.execution.param_dtype
    if any(leaf.dtype != jnp.float32 for leaf in trained):
        raise ConfigError(
            f"execution.param_dtype={param_dtype!r} cannot be trained: an update below 1/256 of a "
            "parameter is rounded away, so that norm scales never move; use float32, which takes the "
            f"parameters of a {param_dtype} run as they are (execution.compute_dtype is of the "
            "arithmetic)"
        )


def check_loss(model: FunctionalModel, config: StepConfig) -> None:
    """Check that the labels are such as can be smoothed, where they are to be.

    Raises:
      ConfigError: for a head that predicts numbers, or positions, among which is padding.
    """
    if config.num_microbatches > 1 and model.config.embeds:
        raise ConfigError(
            f"step.num_microbatches={config.num_microbatches} divides a batch, but with model.head="
            f"{model.config.head!r} each row is a negative of all others; set it to 1, and execution.remat "
            "to use less memory"
        )
    if config.label_smoothing and not model.config.outputs[0].can_be_smoothed:
        raise ConfigError(
            f"step.label_smoothing={config.label_smoothing} is of labels, and model.head="
            f"{model.config.head!r} predicts numbers or positions; set it to 0"
        )


def make_train_step(
    model: FunctionalModel, optimizer: Optimizer, config: StepConfig, *, seed: int
) -> TrainStep:
    """Return the pure function ``(state, batch) -> (state, metrics)``.

    Metrics: ``loss`` (pure cross-entropy, nats per token), ``z_loss``, ``token_accuracy`` (``accuracy`` of
    a head with one label a row) as ``WeightedSum``, and ``NAME_loss``, ``NAME_accuracy`` of further outputs
    (``sequence`` is BERT's next sentence); ``grad_norm`` (before clipping) and ``param_norm`` (before the
    update) of what is trained, ``tokens`` (int32, without padding, of the encoder and of the decoder),
    ``nonfinite`` (1.0 if the loss or a gradient was not finite) and ``learning_rate`` (what the optimizer
    applied, before factors of single parameters: its schedule follows completed updates, not skipped ones).

    Several outputs count alike: the objective is the sum of their mean losses over the batch (BERT).

    Args:
      model: the functional model.
      optimizer: sees the gradient of the loss per target token. What it does not train is passed on as it
        is: no gradient of it is taken, kept or exchanged.
      config: loss and microbatches.
      seed: dropout depends on (seed, step, microbatch) alone.

    Raises:
      ConfigError: if the parameters are not float32, or labels are smoothed of which there are none.
    """
    check_param_dtype(model, optimizer)
    check_loss(model, config)

    def train_step(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        losses, grads = _accumulate(model, optimizer.trained, state.params, batch, key, config)
        grads = _normalise(grads, losses.objective.weight)
        new_state, metrics = _update(state, grads, losses, optimizer, config)
        metrics["learning_rate"] = jnp.asarray(optimizer.learning_rate(state.opt_state), jnp.float32)
        main = losses.outputs[0]
        metrics |= {"z_loss": main.z_loss, "tokens": num_real_tokens(batch)}
        return new_state, metrics | _output_metrics(model, losses)

    return train_step


def make_eval_step(
    model: FunctionalModel, *, sentinel_ids: np.ndarray, eos_id: int | None = EOS_ID
) -> EvalStep:
    """Return the pure function ``(params, batch) -> {"loss", "token_accuracy", "text_loss"}``, no dropout.

    ``text_loss`` is the cross-entropy over the decoder's target tokens that are text: neither EOS nor
    sentinels, which are easy to predict and flatter ``loss``. It compares with n-gram entropies of text.
    An encoder-only model has none; it has ``NAME_loss`` and ``NAME_accuracy`` of a second output, and
    ``accuracy`` where its only output is one label a row.

    Args:
      model: the functional model.
      sentinel_ids: int32, the ids of the sentinels.
      eos_id: end of sequence; None where the vocabulary has none.
    """

    def eval_step(params: Tree, batch: DeviceBatch) -> dict[str, WeightedSum]:
        outputs = predictions(model.bind(params), batch)
        losses = batch_losses(outputs, [1.0] * len(outputs))
        metrics = _output_metrics(model, losses)
        if not model.config.writes:
            return metrics
        _, logits, targets_BL, weights_BL, _ = outputs[0]
        text_BL = text_weights(targets_BL, weights_BL, sentinel_ids=sentinel_ids, eos_id=eos_id)
        text = token_losses(logits, targets_BL, text_BL)
        return metrics | {"text_loss": text.loss}

    return eval_step


def compile_train_step(
    train_step: TrainStep, model: FunctionalModel, optimizer: Optimizer, partitioner: Partitioner
) -> Any:
    """Return ``train_step`` under ``jax.jit``: state and batch sharded, metrics replicated, state donated.

    The result is a jitted function (compiled at the first call, or by ``.lower(...).compile()``). The state
    that is passed in is consumed.
    """
    state = state_shardings(model, optimizer, partitioner)

    def sharded_train_step(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, Metrics]:
        with partitioner.activate():
            return train_step(state, batch)

    return jax.jit(
        sharded_train_step,
        in_shardings=(state, partitioner.batch_sharding),
        out_shardings=(state, partitioner.replicated),
        donate_argnums=0,
        compiler_options=as_compiler_options(partitioner.compiler_options),
    )


def compile_eval_step(eval_step: EvalStep, model: FunctionalModel, partitioner: Partitioner) -> Any:
    """Return ``eval_step`` under ``jax.jit``: parameters and batch sharded, results replicated."""

    def sharded_eval_step(params: Tree, batch: DeviceBatch) -> dict[str, WeightedSum]:
        with partitioner.activate():
            return eval_step(params, batch)

    return jax.jit(
        sharded_eval_step,
        in_shardings=(
            partitioner.tree_shardings(model.logical_axes, model.abstract_params),
            partitioner.batch_sharding,
        ),
        out_shardings=partitioner.replicated,
        compiler_options=as_compiler_options(partitioner.compiler_options),
    )


def check_batch_size(batch_size: int, num_microbatches: int, partitioner: Partitioner) -> None:
    """Check that every device gets the same number of rows of every microbatch.

    Raises:
      ConfigError: naming the nearest batch sizes that work.
    """
    axes = _data_axes(partitioner)
    divisor = num_microbatches * num_data_devices(partitioner)
    if batch_size > 0 and batch_size % divisor == 0:
        return
    below, above = batch_size // divisor * divisor, (batch_size // divisor + 1) * divisor
    mesh_axes = " x ".join(f"{axis}={partitioner.mesh.shape[axis]}" for axis in axes)
    raise ConfigError(
        f"batch_size={batch_size} is not divisible by num_microbatches={num_microbatches} x the data axes of "
        f"the mesh ({mesh_axes}) = {divisor}; use {f'{below} or ' if below > 0 else ''}{above}, or change "
        "step.num_microbatches or partitioning"
    )


def num_data_devices(partitioner: Partitioner) -> int:
    """Return among how many devices (or groups of them) the rows of a batch are divided."""
    return math.prod(partitioner.mesh.shape[axis] for axis in _data_axes(partitioner))


def _data_axes(partitioner: Partitioner) -> tuple[str, ...]:
    entry = partitioner.batch_sharding.spec[0]
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def split_microbatches(batch: DeviceBatch, num_microbatches: int) -> DeviceBatch:
    """Return the batch with a leading microbatch axis: [B, ...] becomes [k, B/k, ...].

    Microbatch ``j`` takes rows ``j, j+k, j+2k, ...``. Rows are sharded in contiguous blocks, one per data
    device, so a contiguous split would put each microbatch on a few devices and leave the others idle (or
    make XLA move the rows); interleaved, every device keeps its own rows and holds an equal part of every
    microbatch.
    """

    def split(x: jax.Array) -> jax.Array:
        interleaved = x.reshape(x.shape[0] // num_microbatches, num_microbatches, *x.shape[1:])
        stacked = jnp.swapaxes(interleaved, 0, 1)
        return constrain(stacked, (None, "batch", *(None for _ in x.shape[1:])))

    return jax.tree.map(split, dict(batch))


def _accumulate(
    model: FunctionalModel,
    select: Callable[[Tree], Tree],
    params: Tree,
    batch: DeviceBatch,
    key: jax.Array,
    config: StepConfig,
) -> tuple[BatchLosses, Tree]:
    """Return the losses and the float32 gradient of the *sum* of the objective over the whole batch.

    The gradient is with respect to the parameters that ``select`` leaves in a tree. Sums add up exactly
    whatever the weights of the microbatches; dividing by the total weight comes after.
    """
    factors = loss_factors(targets(model.config, batch))
    trained, axes = select(params), select(model.logical_axes)

    def objective(trained: Tree, microbatch: DeviceBatch, key: jax.Array) -> tuple[jax.Array, BatchLosses]:
        losses = batch_losses(
            predictions(model.bind(merged(params, trained), dropout_key=key), microbatch, dropout_key=key),
            factors,
            z_loss=config.z_loss,
            label_smoothing=config.label_smoothing,
            vocab_chunks=config.vocab_chunks,
        )
        return jnp.asarray(losses.objective.total), losses

    def one(microbatch: DeviceBatch, index: jax.Array | int) -> tuple[BatchLosses, Tree]:
        dropout_key = jax.random.fold_in(key, index)
        grads, losses = jax.grad(objective, has_aux=True)(trained, microbatch, dropout_key)
        return losses, _constrain_gradients(grads, axes)

    if config.num_microbatches == 1:
        return one(batch, 0)

    def add(carry: Tree, microbatch_and_index: tuple[DeviceBatch, jax.Array]) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, carry, one(*microbatch_and_index)), None

    microbatches = split_microbatches(batch, config.num_microbatches)
    indices = jnp.arange(config.num_microbatches)
    zero_grads = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), trained)
    no_losses = BatchLosses.zeros(len(model.config.outputs))
    zeros = (no_losses, _constrain_gradients(zero_grads, axes))
    return jax.lax.scan(add, zeros, (microbatches, indices))[0]


def _constrain_gradients(grads: Tree, axes: Tree) -> Tree:
    """Return float32 gradients sharded like their parameters, so that XLA reduce-scatters them."""
    grads = jax.tree.map(lambda g: g.astype(jnp.float32), grads)
    partitioner = active_partitioner()
    if partitioner is None:
        return grads
    return jax.lax.with_sharding_constraint(grads, partitioner.tree_shardings(axes, grads))


def _normalise(grads: Tree, weight: jax.Array | float) -> Tree:
    """Divide the gradient of the sum by the number of target tokens: once, here, and nowhere else."""
    return jax.tree.map(lambda g: g / jnp.maximum(weight, 1e-6), grads)


def _update(
    state: TrainState, grads: Tree, losses: BatchLosses, optimizer: Optimizer, config: StepConfig
) -> tuple[TrainState, Metrics]:
    """Clip, update, and keep the old parameters and optimizer state if anything is not finite."""
    grad_norm = global_norm(grads)
    if config.max_gradient_norm is not None:
        scale = jnp.minimum(1.0, config.max_gradient_norm / jnp.maximum(grad_norm, 1e-30))
        grads = jax.tree.map(lambda g: g * scale, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    before = optimizer.trained(state.params)
    trained = optax.apply_updates(before, updates)
    finite = jnp.isfinite(grad_norm) & jnp.isfinite(losses.objective.total)
    if config.skip_nonfinite:
        trained, opt_state = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (trained, opt_state),
            (before, state.opt_state),
        )
    params = merged(state.params, trained)
    new_state = TrainState(step=state.step + 1, params=params, opt_state=opt_state)
    return new_state, {
        "grad_norm": grad_norm,
        "param_norm": global_norm(before),
        "nonfinite": 1.0 - finite.astype(jnp.float32),
    }


def _output_metrics(model: FunctionalModel, losses: BatchLosses) -> dict[str, WeightedSum]:
    """Return loss and (token) accuracy by name; those of the main output bear no output's name."""
    metrics = {}
    for number, (output, measured) in enumerate(zip(model.config.outputs, losses.outputs, strict=True)):
        prefix = f"{output.name}_" if number else ""
        values = (measured.loss, measured.accuracy)  # of numbers, there is the first alone
        metrics |= {f"{prefix}{name}": value for name, value in zip(output.metrics, values, strict=False)}
    return metrics
