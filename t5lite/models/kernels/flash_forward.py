"""Flash attention, forward: one pass over the keys with a running softmax (Dao et al. 2022)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from t5lite.models.kernels.blocks import Blocks, compiler_params, cost
from t5lite.models.kernels.tile_logits import (
    LOWEST_MAXIMUM,
    Inputs,
    Settings,
    diagonals_window,
    logits_tile,
    only_head,
    product,
    visible_tile,
)


def forward(inputs: Inputs, settings: Settings, *, interpret: bool) -> tuple[jax.Array, jax.Array]:
    """Return ``out_BLC`` in the dtype of the values, and float32 logsumexp ``[N * U, B, P, L]``."""
    tiling = settings.tiling
    batch, length, columns = inputs.q_BLC.shape
    heads, tile = tiling.heads_per_block, tiling.query_tile
    blocks = Blocks(settings, outer="query")
    out_shape = (
        jax.ShapeDtypeStruct(inputs.q_BLC.shape, inputs.v_BMC.dtype),
        jax.ShapeDtypeStruct((columns // tiling.block_columns, batch, heads, length), jnp.float32),
    )
    scratch = (
        pltpu.VMEM((heads, tile), jnp.float32),
        pltpu.VMEM((heads, tile), jnp.float32),
        pltpu.VMEM((tiling.block_columns, tile), jnp.float32),
    )
    return pl.pallas_call(
        functools.partial(_kernel, blocks=blocks),
        out_shape=out_shape,
        grid_spec=blocks.grid_spec(
            inputs, out_specs=(blocks.columns("query"), blocks.rows()), scratch=scratch
        ),
        compiler_params=compiler_params(scratch, parallel_dimensions=4),
        cost_estimate=cost(
            blocks,
            inputs,
            query_side=inputs.q_BLC,
            key_side=(inputs.k_BMC, inputs.v_BMC),
            results=out_shape,
            num_products=2,
        ),
        interpret=interpret,
        name="flash_attention_forward",
    )(inputs.query_offset_1, inputs._replace(query_offset_1=None))


def _kernel(
    offset_1: Any,
    inputs: Inputs,
    out_BTC: Any,
    logsumexp_NBPT: Any,
    maximum_PT: Any,
    sum_PT: Any,
    out_CT: Any,
    *,
    blocks: Blocks,
) -> None:
    settings, tiling = blocks.settings, blocks.settings.tiling
    inputs = inputs._replace(query_offset_1=offset_1)
    step = blocks.step(offset_1)
    query_tile, key_tile = step.query_tile, step.key_tile

    @pl.when(step.is_first)
    def _start() -> None:
        maximum_PT[...] = jnp.full_like(maximum_PT, LOWEST_MAXIMUM)
        sum_PT[...] = jnp.zeros_like(sum_PT)
        out_CT[...] = jnp.zeros_like(out_CT)

    @pl.when(step.meets)
    def _add_tile() -> None:
        visible_ST = visible_tile(settings, query_tile, key_tile, inputs)
        window = diagonals_window(settings, query_tile, key_tile, inputs)
        q_TC, v_CS = inputs.q_BLC[0], inputs.v_BMC[0].T
        for head in range(tiling.heads_per_block):
            row = slice(head, head + 1)
            columns = slice(head * tiling.head_dim, (head + 1) * tiling.head_dim)
            logits_ST = logits_tile(
                settings,
                inputs,
                turn=step.turn,
                head=head,
                q_TC=only_head(q_TC, head, tiling),
                window=window,
                visible_ST=visible_ST,
            ).tile_ST
            before_1T = maximum_PT[row]
            maximum_1T = jnp.maximum(before_1T, jnp.max(logits_ST, axis=0, keepdims=True))
            weights_ST = jnp.exp(logits_ST - maximum_1T)
            rescale_1T = jnp.exp(before_1T - maximum_1T)
            maximum_PT[row] = maximum_1T
            sum_PT[row] = sum_PT[row] * rescale_1T + jnp.sum(weights_ST, axis=0, keepdims=True)
            added_KT = product(v_CS[columns], weights_ST.astype(v_CS.dtype), contract=(1, 0))
            out_CT[columns] = out_CT[columns] * rescale_1T + added_KT

    @pl.when(step.is_last)
    def _finish() -> None:
        sums_PT = jnp.where(sum_PT[...] == 0, 1.0, sum_PT[...])
        logsumexp_NBPT[0, 0] = maximum_PT[...] + jnp.log(sums_PT)
        for head in range(tiling.heads_per_block):
            columns = slice(head * tiling.head_dim, (head + 1) * tiling.head_dim)
            out_CT[columns] = out_CT[columns] / sums_PT[head : head + 1]
        out_BTC[0] = out_CT[...].T.astype(out_BTC.dtype)
