"""Flash attention, backward: one pass that recomputes the weights from their logsumexp.

The outer tiles are the keys'. Gradients of keys and values are summed over the queries in scratch memory,
the queries' gradient over the keys in scratch memory of the whole length, and the bias's over everything:
five products a tile, where separate kernels for queries and keys would do seven. Query heads that share a
head of keys take turns; the gradients of their keys and values are then summed in scratch memory of the
whole length too.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from t5lite.models.kernels.blocks import Blocks, Step, compiler_params, cost
from t5lite.models.kernels.diagonals import collapse
from t5lite.models.kernels.tile_logits import (
    Inputs,
    Settings,
    diagonals_window,
    logits_tile,
    only_head,
    product,
    visible_tile,
)


class Gradients(NamedTuple):
    """Gradients by input, each in its dtype; of the diagonals float32 ``[N, U, P, W]``, or None."""

    q_BLC: Any
    k_BMC: Any
    v_BMC: Any
    diagonals_NUPW: Any


class _Saved(NamedTuple):
    """What the backward pass takes besides the inputs, all by query tile."""

    dout_BLC: Any
    logsumexp_NBPL: Any
    delta_NBPL: Any
    """Sum of out * dout of every head and query: the softmax's share in its gradient."""


class _Scratch(NamedTuple):
    dq_CT: Any
    """``[query tiles, C, T]``."""
    dk_SC: Any
    """``[key tiles, S, C]``; one tile where no queries take turns."""
    dv_SC: Any


def backward(
    inputs: Inputs,
    settings: Settings,
    *,
    out_BLC: jax.Array,
    logsumexp_NBPL: jax.Array,
    dout_BLC: jax.Array,
    interpret: bool,
) -> Gradients:
    """Return the gradients of ``sum(out * dout)``."""
    blocks = Blocks(settings, outer="key")
    tiling = settings.tiling
    saved = _Saved(dout_BLC, logsumexp_NBPL, _delta(out_BLC, dout_BLC, settings, interpret=interpret))
    differentiable = Gradients(inputs.q_BLC, inputs.k_BMC, inputs.v_BMC, inputs.diagonals_NUPW)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), differentiable)
    key_block, diagonals_block = blocks.key_gradient(), blocks.inputs(inputs).diagonals_NUPW
    waiting = 1 if tiling.turns == 1 else tiling.num_key_tiles
    scratch = _Scratch(
        dq_CT=pltpu.VMEM((tiling.num_query_tiles, tiling.block_columns, tiling.query_tile), jnp.float32),
        dk_SC=pltpu.VMEM((waiting, tiling.key_tile, tiling.block_columns), jnp.float32),
        dv_SC=pltpu.VMEM((waiting, tiling.key_tile, tiling.block_columns), jnp.float32),
    )
    return pl.pallas_call(
        functools.partial(_kernel, blocks=blocks),
        out_shape=shapes,
        grid_spec=blocks.grid_spec(
            inputs,
            extra_specs=(_Saved(blocks.columns("query"), blocks.rows(), blocks.rows()),),
            out_specs=Gradients(blocks.query_gradient(), key_block, key_block, diagonals_block),
            scratch=scratch,
        ),
        # The rows of a batch add to the same gradient of the diagonals, so they run in turn.
        compiler_params=compiler_params(scratch, parallel_dimensions=1),
        cost_estimate=cost(
            blocks,
            inputs,
            query_side=(inputs.q_BLC, saved),
            key_side=(inputs.k_BMC, inputs.v_BMC),
            results=shapes._replace(diagonals_NUPW=None),
            num_products=5,
        ),
        interpret=interpret,
        name="flash_attention_backward",
    )(inputs.query_offset_1, inputs._replace(query_offset_1=None), saved)


def _delta(out_BLC: jax.Array, dout_BLC: jax.Array, settings: Settings, *, interpret: bool) -> jax.Array:
    """Return float32 ``[N * U, B, P, L]``.

    A kernel too: XLA would write the products in float32, lay them out by head, and read them again.
    """
    tiling = settings.tiling
    batch, length, columns = out_BLC.shape
    num_blocks, tile = columns // tiling.block_columns, tiling.query_tile
    block = pl.BlockSpec((1, tile, tiling.block_columns), lambda t, b, q: (b, q, t))
    shape = jax.ShapeDtypeStruct((num_blocks, batch, tiling.heads_per_block, length), jnp.float32)
    moved = 2 * out_BLC.size * out_BLC.dtype.itemsize + shape.size * shape.dtype.itemsize
    delta_NBPL: jax.Array = pl.pallas_call(
        functools.partial(_delta_kernel, head_dim=tiling.head_dim),
        out_shape=shape,
        grid=(num_blocks, batch, tiling.num_query_tiles),
        in_specs=(block, block),
        out_specs=pl.BlockSpec((1, 1, tiling.heads_per_block, tile), lambda t, b, q: (t, b, 0, q)),
        compiler_params=pltpu.CompilerParams(dimension_semantics=(pltpu.PARALLEL,) * 3),
        cost_estimate=pl.CostEstimate(flops=0, transcendentals=0, bytes_accessed=moved),
        interpret=interpret,
        name="flash_attention_delta",
    )(out_BLC, dout_BLC)
    return delta_NBPL


def _delta_kernel(out_BTC: Any, dout_BTC: Any, delta_NBPT: Any, *, head_dim: int) -> None:
    product_CT = (out_BTC[0].astype(jnp.float32) * dout_BTC[0].astype(jnp.float32)).T
    for head in range(delta_NBPT.shape[2]):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        delta_NBPT[0, 0, head : head + 1] = jnp.sum(product_CT[rows], axis=0, keepdims=True)


def _kernel(offset_1: Any, inputs: Inputs, saved: _Saved, *outputs_and_scratch: Any, blocks: Blocks) -> None:
    num_outputs = len(Gradients._fields)
    gradients = Gradients(*outputs_and_scratch[:num_outputs])
    sums = _Scratch(*outputs_and_scratch[num_outputs:])
    inputs = inputs._replace(query_offset_1=offset_1)
    step, walk, shift = blocks.step(offset_1), blocks.walk, blocks.shift(offset_1[0])
    turn, query_tile, key_tile = step.turn, step.query_tile, step.key_tile
    last_turn = blocks.settings.tiling.turns - 1
    waiting = key_tile if last_turn else 0

    if gradients.diagonals_NUPW is not None:

        @pl.when((pl.program_id(1) == 0) & (turn == 0) & (key_tile == 0) & step.is_first)
        def _start_diagonals() -> None:
            gradients.diagonals_NUPW[...] = jnp.zeros_like(gradients.diagonals_NUPW)

    @pl.when((turn == 0) & step.is_first)
    def _start_key_tile() -> None:
        sums.dk_SC[waiting] = jnp.zeros(sums.dk_SC.shape[1:], jnp.float32)
        sums.dv_SC[waiting] = jnp.zeros(sums.dv_SC.shape[1:], jnp.float32)

    @pl.when(step.meets & walk.is_new(query_tile, key_tile, shift))
    def _start_query_tile() -> None:
        sums.dq_CT[query_tile] = jnp.zeros(sums.dq_CT.shape[1:], jnp.float32)

    @pl.when(step.meets)
    def _add() -> None:
        _add_tile(inputs, saved, gradients.diagonals_NUPW, sums, settings=blocks.settings, step=step)

    @pl.when((turn == last_turn) & step.is_last)
    def _finish_key_tile() -> None:
        gradients.k_BMC[0] = sums.dk_SC[waiting].astype(gradients.k_BMC.dtype)
        gradients.v_BMC[0] = sums.dv_SC[waiting].astype(gradients.v_BMC.dtype)

    @pl.when(step.meets & (query_tile < walk.num_finished(key_tile, shift)))
    def _finish_query_tile() -> None:
        gradients.q_BLC[0] = sums.dq_CT[query_tile].T.astype(gradients.q_BLC.dtype)


def _add_tile(
    inputs: Inputs,
    saved: _Saved,
    ddiagonals_NUPW: Any,
    sums: _Scratch,
    *,
    settings: Settings,
    step: Step,
) -> None:
    """Add what one tile of logits contributes to every gradient."""
    tiling, query_tile, key_tile = settings.tiling, step.query_tile, step.key_tile
    waiting = key_tile if tiling.turns > 1 else 0
    visible_ST = visible_tile(settings, query_tile, key_tile, inputs)
    window = diagonals_window(settings, query_tile, key_tile, inputs)
    k_CS = inputs.k_BMC[0].T
    for head in range(tiling.heads_per_block):
        row = slice(head, head + 1)
        columns = slice(head * tiling.head_dim, (head + 1) * tiling.head_dim)
        q_TC = only_head(inputs.q_BLC[0], head, tiling)
        dout_TC = only_head(saved.dout_BLC[0], head, tiling)
        logits = logits_tile(
            settings, inputs, turn=step.turn, head=head, q_TC=q_TC, window=window, visible_ST=visible_ST
        )
        weights_ST = jnp.exp(logits.tile_ST - saved.logsumexp_NBPL[0, 0, row])
        sums.dv_SC[waiting] += product(weights_ST.astype(dout_TC.dtype), dout_TC, contract=(1, 0))
        dweights_ST = product(inputs.v_BMC[0], dout_TC, contract=(1, 1))
        dlogits_ST = weights_ST * (dweights_ST - saved.delta_NBPL[0, 0, row])
        if ddiagonals_NUPW is not None:
            ddiagonals_NUPW[0, step.turn, row, window] += collapse(dlogits_ST)
        if logits.tanh_ST is not None:
            dlogits_ST *= 1 - logits.tanh_ST * logits.tanh_ST
        dlogits_ST = dlogits_ST.astype(q_TC.dtype)
        sums.dk_SC[waiting] += product(dlogits_ST, q_TC, contract=(1, 0))
        sums.dq_CT[query_tile, columns] += product(k_CS[columns], dlogits_ST, contract=(1, 0))
