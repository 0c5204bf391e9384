"""Kernels on a mesh: XLA divides its own operations over devices, but not a kernel's call."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from t5lite.models.kernels.choice import KEY_AXES, QUERY_AXES
from t5lite.models.kernels.flash_attention import flash_attention
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.position import RelativeBias
from t5lite.partitioning.rules import active_partitioner


def sharded_flash_attention(
    q_BLHK: jax.Array,
    k_BMHK: jax.Array,
    v_BMHK: jax.Array,
    *,
    mask: AttentionMask,
    bias: RelativeBias | None,
    interpret: bool = False,
) -> jax.Array:
    """Return ``flash_attention``, each device doing its rows, queries and heads.

    The active partitioner's rules say which those are, as ``constrain`` has it; keys are whole. Gradients of
    what several devices read (keys and values of a divided length, the bias's table) are summed over them.
    """
    partitioner = active_partitioner()
    if partitioner is None or partitioner.mesh.size == 1:
        return flash_attention(q_BLHK, k_BMHK, v_BMHK, mask=mask, bias=bias, interpret=interpret)
    rows, queries, heads, _ = partitioner.activation_spec(QUERY_AXES)
    query_spec, key_spec = PartitionSpec(rows, queries, heads), partitioner.activation_spec(KEY_AXES)
    ids = {
        "query_segment_ids_BL": PartitionSpec(rows, queries),
        "key_segment_ids_BM": PartitionSpec(rows),
        "bidirectional_keys_BM": PartitionSpec(rows),
    }
    ids_specs = {name: spec for name, spec in ids.items() if getattr(mask, name) is not None}
    table_RH = None if bias is None else bias.table_RH

    def on_device(
        q_BLHK: jax.Array,
        k_BMHK: jax.Array,
        v_BMHK: jax.Array,
        ids: dict[str, jax.Array],
        table_RH: jax.Array | None,
    ) -> jax.Array:
        offset = jnp.int32(0) if queries is None else jax.lax.axis_index(queries) * q_BLHK.shape[1]
        return flash_attention(
            q_BLHK,
            k_BMHK,
            v_BMHK,
            mask=replace(mask, query_offset=offset, **ids),
            bias=bias and replace(bias, table_RH=table_RH, query_offset=offset, computed_HLM=None),
            interpret=interpret,
        )

    return jax.shard_map(
        on_device,
        mesh=partitioner.mesh,
        in_specs=(query_spec, key_spec, key_spec, ids_specs, PartitionSpec(None, heads)),
        out_specs=query_spec,
        check_vma=False,  # a kernel does not tell over which axes its results differ
    )(q_BLHK, k_BMHK, v_BMHK, {name: getattr(mask, name) for name in ids_specs}, table_RH)
