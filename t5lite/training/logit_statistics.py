"""The few numbers a token that every loss is made of, from logits that need not exist all at once.

Float32 logits of a vocabulary of 250,000, their softmax and their gradient are the largest arrays of many a
step. Here the vocabulary is cut into chunks: each chunk's logits are made, reduced and forgotten, and made
again in the backward pass. That costs one more product with the output projection; what crosses the network
stays the same, because every chunk of the projection is gathered, and its gradient scattered, by itself.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.core.types import LogicalAxes
from t5lite.models.layers.logits import LOGITS_AXES, LogitFactors
from t5lite.partitioning.constraints import constrain_parameter, local_shape, num_parts, pad_parameter
from t5lite.partitioning.rules import constrain, on_one_device, target_platform

MAX_CHUNK_BYTES = 256 * 2**20
"""Largest float32 logits of one device that are made at once where the number of chunks is left open."""
MAX_CHUNK_BYTES_OF_CPU = 4 * MAX_CHUNK_BYTES
"""The same on a CPU: memory is the host's, and the product that chunks repeat is a tenth of a BERT step."""
_LOWEST = float(jnp.finfo(jnp.float32).min)
_CHUNK_AXES = (*LOGITS_AXES, None)
"""Axes of ``[B, L, T, C]``: C ids of each of the T shares of the vocabulary."""


class LogitStatistics(NamedTuple):
    """Float32 ``[B, L]`` each."""

    log_z: jax.Array
    """Log-partition function, log(sum(exp(logits)))."""
    target: jax.Array
    """Logit of the target."""
    runner_up: jax.Array
    """Highest logit of any other id, NaN if one of them is, -inf if there is none; no gradient."""
    total: jax.Array
    """Sum of all logits."""


def logit_statistics(
    logits: LogitFactors | jax.Array, targets_BL: jax.Array, *, num_chunks: int | None = 1
) -> LogitStatistics:
    """Return the statistics of ``[B, L, V]`` logits.

    Args:
      logits: arrays are computed upon in float32, whatever their dtype.
      targets_BL: ids in ``[0, V)``; of any other the logit is 0, and has no gradient.
      num_chunks: parts in which factors are multiplied out; None: as few as MAX_CHUNK_BYTES(_OF_CPU) allows.
    """
    if isinstance(logits, LogitFactors):
        chunks = _cut(logits, num_chunks)
        if chunks.count > 1:
            return _by_chunks(logits, targets_BL, chunks)
        logits = logits.logits()
    logits_BLV = logits.astype(jnp.float32)
    is_target_BLV = _is_target(targets_BL, logits_BLV.shape[-1])
    target_BL = _of_targets(logits_BLV, targets_BL)
    others_BLV = jnp.where(is_target_BLV, -jnp.inf, logits_BLV)
    runner_up_BL = jax.lax.stop_gradient(jnp.max(others_BLV, axis=-1))
    # The maximum of all, without another reduction, which takes bytes over a sharded vocabulary.
    max_BL = jax.lax.stop_gradient(jnp.maximum(target_BL, runner_up_BL))
    log_z_BL = max_BL + jnp.log(jnp.sum(jnp.exp(logits_BLV - max_BL[:, :, None]), axis=-1))
    return LogitStatistics(log_z_BL, target_BL, runner_up_BL, jnp.sum(logits_BLV, axis=-1))


def _is_target(targets_BL: jax.Array, vocab_size: int) -> jax.Array:
    """Return bool ``[B, L, V]``."""
    return jnp.arange(vocab_size, dtype=targets_BL.dtype)[None, None, :] == targets_BL[:, :, None]


def _of_targets(logits_BLV: jax.Array, targets_BL: jax.Array) -> jax.Array:
    """Return the logits of the targets, ``[B, L]``: a masked sum, which takes a vocabulary in parts.

    That is 0 of a target outside of the vocabulary. XLA:CPU needs four times as long for it as for the
    exponentials of all logits, so there the numbers are looked up. Lookup's own gradient would be a scatter.
    """
    if target_platform() == "cpu" and on_one_device():
        return _looked_up(logits_BLV.shape[-1], logits_BLV, targets_BL)
    return jnp.sum(jnp.where(_is_target(targets_BL, logits_BLV.shape[-1]), logits_BLV, 0.0), axis=-1)


def _lookup(vocab_size: int, logits_BLV: jax.Array, targets_BL: jax.Array) -> jax.Array:
    found_BL = jnp.take_along_axis(logits_BLV, targets_BL[:, :, None], axis=-1, mode="clip")[:, :, 0]
    return jnp.where((targets_BL >= 0) & (targets_BL < vocab_size), found_BL, 0.0)


def _lookup_gradient(vocab_size: int, targets_BL: jax.Array, y_bar_BL: jax.Array) -> tuple[jax.Array, None]:
    return jnp.where(_is_target(targets_BL, vocab_size), y_bar_BL[:, :, None], 0.0), None


_looked_up: Any = jax.custom_vjp(_lookup, nondiff_argnums=(0,))
_looked_up.defvjp(lambda size, logits, targets: (_lookup(size, logits, targets), targets), _lookup_gradient)


@dataclass(frozen=True)
class _Chunks:
    """The vocabulary as T shares, one for each device that it is sharded over, and every share in chunks.

    The last chunk of a share ends with it and may so begin with ids of the chunk before: these are stale, as
    are the ids from ``vocab_size`` on, which make the last shares as large as the others.
    """

    kernel_axes: LogicalAxes
    vocab_size: int
    num_shares: int
    share_size: int
    size: int
    count: int
    softcap: float | None

    @property
    def letters(self) -> str:
        """A chunk of the kernel in einsum's letters."""
        return "TCD" if self.kernel_axes[0] == "vocab" else "DTC"

    @property
    def axes(self) -> LogicalAxes:
        """Logical axes of the kernel with shares."""
        return ("vocab", None, "embed") if self.kernel_axes[0] == "vocab" else ("embed", "vocab", None)

    def split(self, kernel: jax.Array) -> jax.Array:
        """Return the kernel with shares, ``[T, S, D]`` or ``[D, T, S]``."""
        size = self.num_shares * self.share_size
        shape = (size, kernel.shape[1]) if self.kernel_axes[0] == "vocab" else (kernel.shape[0], size)
        if size > self.vocab_size:
            kernel = pad_parameter(kernel, self.kernel_axes, shape)
        shares = [self.num_shares, self.share_size]
        split = [*shares, shape[1]] if self.kernel_axes[0] == "vocab" else [shape[0], *shares]
        return constrain_parameter(kernel.reshape(split), self.axes)

    def split_bias(self, bias_V: jax.Array) -> jax.Array:
        """Return ``bias_TS``."""
        missing = self.num_shares * self.share_size - self.vocab_size
        bias_V = jnp.pad(bias_V, (0, missing)) if missing else bias_V
        return bias_V.reshape(self.num_shares, self.share_size)

    def take(self, kernel: jax.Array, number: jax.Array, dtype: jnp.dtype) -> jax.Array:
        """Return one chunk of a split kernel, whole but for its shares."""
        axis = self.letters.index("C")
        chunk = jax.lax.dynamic_slice_in_dim(kernel, self._start(number), self.size, axis=axis)
        return constrain(chunk.astype(dtype), self.axes)

    def add(self, kernel: jax.Array, change: jax.Array, number: jax.Array, *, axis: int) -> jax.Array:
        """Return what ``take`` and its like were taken from with ``change`` added there."""
        start = self._start(number)
        there = jax.lax.dynamic_slice_in_dim(kernel, start, self.size, axis=axis)
        return jax.lax.dynamic_update_slice_in_dim(kernel, there + change, start, axis=axis)

    def ids_TC(self, number: jax.Array) -> jax.Array:
        """Return the ids of a chunk, -1 where stale."""
        places_C = self._start(number) + jnp.arange(self.size)
        ids_TC = jnp.arange(self.num_shares)[:, None] * self.share_size + places_C[None, :]
        ids_TC = jnp.where((places_C >= number * self.size)[None, :], ids_TC, -1)
        if self.num_shares * self.share_size > self.vocab_size:
            ids_TC = jnp.where(ids_TC < self.vocab_size, ids_TC, -1)
        return ids_TC

    def logits_BLTC(
        self, x_BLD: jax.Array, kernel: jax.Array, bias_TS: jax.Array, number: jax.Array
    ) -> jax.Array:
        """Return the float32 logits of a chunk, the lowest number where stale."""
        chunk = self.take(kernel, number, x_BLD.dtype)
        logits_BLTC = jnp.einsum(
            f"BLD,{self.letters}->BLTC", x_BLD, chunk, preferred_element_type=jnp.float32
        )
        bias_TC = jax.lax.dynamic_slice_in_dim(bias_TS, self._start(number), self.size, axis=1)
        logits_BLTC += bias_TC.astype(jnp.float32)[None, None]
        if self.softcap is not None:
            logits_BLTC = self.softcap * jnp.tanh(logits_BLTC / self.softcap)
        fresh_TC = self.ids_TC(number) >= 0
        return constrain(jnp.where(fresh_TC[None, None], logits_BLTC, _LOWEST), _CHUNK_AXES)

    def _start(self, number: jax.Array) -> jax.Array:
        return jnp.minimum(number * self.size, self.share_size - self.size)


def cut_share(
    share_size: int, num_chunks: int | None, *, num_tokens: float, platform: str
) -> tuple[int, int]:
    """Return how many ids a chunk has, and how many chunks a device's share of the vocabulary.

    Args:
      share_size: ids of the share.
      num_chunks: that are asked for; None: as few as the platform's largest chunk allows.
      num_tokens: on the device, of one microbatch.
      platform: that computes.
    """
    if num_chunks is None:
        max_bytes = MAX_CHUNK_BYTES_OF_CPU if platform == "cpu" else MAX_CHUNK_BYTES
        num_chunks = max(1, math.ceil(4 * num_tokens * share_size / max_bytes))
    size = -(-share_size // num_chunks)
    return size, -(-share_size // size)


def _cut(factors: LogitFactors, num_chunks: int | None) -> _Chunks:
    vocab_size = factors.vocab_size
    num_tokens = math.prod(local_shape((*factors.x_BLD.shape[:2], vocab_size), LOGITS_AXES)[:2])
    num_shares = num_parts(LOGITS_AXES, "vocab")
    share_size = -(-vocab_size // num_shares)
    size, count = cut_share(share_size, num_chunks, num_tokens=num_tokens, platform=target_platform())
    return _Chunks(factors.kernel_axes, vocab_size, num_shares, share_size, size, count, factors.softcap)


def _by_chunks(factors: LogitFactors, targets_BL: jax.Array, chunks: _Chunks) -> LogitStatistics:
    bias_V = jnp.zeros(factors.vocab_size) if factors.bias_V is None else factors.bias_V
    arguments = chunks.split(factors.kernel), chunks.split_bias(bias_V)
    # Below 0 a target would be taken for stale ids.
    targets_BL = jnp.where(targets_BL < 0, factors.vocab_size, targets_BL)
    return _statistics(chunks, factors.x_BLD, *arguments, targets_BL)


def _sums(
    chunks: _Chunks, x_BLD: jax.Array, kernel: jax.Array, bias_TS: jax.Array, targets_BL: jax.Array
) -> LogitStatistics:
    def add(sums: tuple[jax.Array, ...], number: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        max_BLT, exp_BLT, target_BLT, runner_up_BLT, total_BLT = sums
        logits_BLTC, ids_TC = chunks.logits_BLTC(x_BLD, kernel, bias_TS, number), chunks.ids_TC(number)
        new_max_BLT = jnp.maximum(max_BLT, jnp.max(logits_BLTC, axis=-1))
        exp_BLT = exp_BLT * jnp.exp(max_BLT - new_max_BLT)
        exp_BLT += jnp.sum(jnp.exp(logits_BLTC - new_max_BLT[..., None]), axis=-1)
        is_target_BLTC = ids_TC[None, None] == targets_BL[:, :, None, None]
        target_BLT += jnp.sum(jnp.where(is_target_BLTC, logits_BLTC, 0.0), axis=-1)
        others_BLTC = jnp.where(is_target_BLTC, -jnp.inf, logits_BLTC)
        runner_up_BLT = jnp.maximum(runner_up_BLT, jnp.max(others_BLTC, axis=-1))
        total_BLT += jnp.sum(jnp.where((ids_TC >= 0)[None, None], logits_BLTC, 0.0), axis=-1)
        return (new_max_BLT, exp_BLT, target_BLT, runner_up_BLT, total_BLT), None

    # Every share keeps its own sums until the end: no chunk waits for another device.
    zeros_BLT = constrain(jnp.zeros((*targets_BL.shape, chunks.num_shares), jnp.float32), LOGITS_AXES)
    start = (zeros_BLT + _LOWEST, zeros_BLT, zeros_BLT, zeros_BLT - jnp.inf, zeros_BLT)
    numbers = jnp.arange(chunks.count)
    max_BLT, exp_BLT, target_BLT, runner_up_BLT, total_BLT = jax.lax.scan(add, start, numbers)[0]
    target_BL, runner_up_BL = jnp.sum(target_BLT, axis=-1), jnp.max(runner_up_BLT, axis=-1)
    max_BL = jnp.maximum(target_BL, runner_up_BL)
    z_BL = jnp.sum(exp_BLT * jnp.exp(max_BLT - max_BL[:, :, None]), axis=-1)
    return LogitStatistics(
        log_z=max_BL + jnp.log(z_BL),
        target=target_BL,
        runner_up=runner_up_BL,
        total=jnp.sum(total_BLT, axis=-1),
    )


def _forward(chunks: _Chunks, *arguments: jax.Array) -> tuple[LogitStatistics, tuple[jax.Array, ...]]:
    found = _sums(chunks, *arguments)
    return found, (*arguments, found.log_z)


def _backward(
    chunks: _Chunks, saved: tuple[jax.Array, ...], gradient: LogitStatistics
) -> tuple[jax.Array | None, ...]:
    x_BLD, kernel, bias_TS, targets_BL, log_z_BL = saved

    def add(sums: tuple[jax.Array, ...], number: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        x_BLTD, kernel_sum, bias_sum_TS = sums
        ids_TC = chunks.ids_TC(number)
        logits_BLTC = chunks.logits_BLTC(x_BLD, kernel, bias_TS, number)
        d_BLTC = jnp.exp(logits_BLTC - log_z_BL[:, :, None, None]) * gradient.log_z[:, :, None, None]
        is_target_BLTC = ids_TC[None, None] == targets_BL[:, :, None, None]
        d_BLTC += jnp.where(is_target_BLTC, gradient.target[:, :, None, None], 0.0)
        d_BLTC += gradient.total[:, :, None, None]
        if chunks.softcap is not None:
            d_BLTC *= 1.0 - jnp.square(logits_BLTC / chunks.softcap)
        d_BLTC = constrain(jnp.where((ids_TC >= 0)[None, None], d_BLTC, 0.0), _CHUNK_AXES)
        bias_sum_TS = chunks.add(bias_sum_TS, jnp.sum(d_BLTC, axis=(0, 1)), number, axis=1)
        product = partial(jnp.einsum, preferred_element_type=jnp.float32)
        d_BLTC, letters = d_BLTC.astype(x_BLD.dtype), chunks.letters
        x_BLTD += product(f"BLTC,{letters}->BLTD", d_BLTC, chunks.take(kernel, number, x_BLD.dtype))
        change = constrain_parameter(product(f"BLD,BLTC->{letters}", x_BLD, d_BLTC), chunks.axes)
        kernel_sum = chunks.add(kernel_sum, change, number, axis=letters.index("C"))
        x_BLTD, kernel_sum = constrain(x_BLTD, _CHUNK_AXES), constrain_parameter(kernel_sum, chunks.axes)
        return (x_BLTD, kernel_sum, bias_sum_TS), None

    zeros_BLTD = jnp.zeros((*targets_BL.shape, chunks.num_shares, x_BLD.shape[-1]), jnp.float32)
    zeros = (
        constrain(zeros_BLTD, _CHUNK_AXES),
        constrain_parameter(jnp.zeros(kernel.shape, jnp.float32), chunks.axes),
        jnp.zeros(bias_TS.shape, jnp.float32),
    )
    x_BLTD, kernel_sum, bias_sum_TS = jax.lax.scan(add, zeros, jnp.arange(chunks.count))[0]
    x_gradient_BLD = jnp.sum(x_BLTD, axis=2).astype(x_BLD.dtype)
    return x_gradient_BLD, kernel_sum.astype(kernel.dtype), bias_sum_TS.astype(bias_TS.dtype), None


_statistics: Any = jax.custom_vjp(_sums, nondiff_argnums=(0,))
_statistics.defvjp(_forward, _backward)
