"""Kernels on a mesh: XLA divides its own operations over devices, but not a kernel's call."""

import functools
from dataclasses import replace

import jax
from jax.sharding import PartitionSpec

from t5lite.models.kernels.flash_attention import flash_attention
from t5lite.models.kernels.shapes import KEY_AXES, QUERY_AXES, ways_of_queries
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.position import RelativeBias
from t5lite.partitioning.rules import active_partitioner


def sharded_flash_attention(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    mask: AttentionMask,
    bias: RelativeBias | None,
    softcap: float | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Return ``flash_attention``, each device doing its rows, queries and heads.

    The active partitioner's rules say which those are, as ``constrain`` has it; keys are whole. Where there
    are fewer heads of keys than devices to divide them over, each takes the one that its queries share.
    Gradients of what several devices read (keys and values of a divided length, heads of keys that they
    share, the bias's table) are summed over them.
    """
    kernel = functools.partial(flash_attention, softcap=softcap, interpret=interpret)
    partitioner = active_partitioner()
    if partitioner is None or partitioner.mesh.size == 1:
        return kernel(q_BLHK, k_BMGK, v_BMGK, mask=mask, bias=bias)
    rows, queries, heads, _ = partitioner.activation_spec(QUERY_AXES)
    num_heads, kv_heads = q_BLHK.shape[2], k_BMGK.shape[2]
    divides_keys = kv_heads % ways_of_queries(partitioner)[2] == 0
    query_spec = PartitionSpec(rows, queries, heads)
    key_spec = partitioner.activation_spec(KEY_AXES) if divides_keys else PartitionSpec(rows)
    ids = {
        "query_segment_ids_BL": PartitionSpec(rows, queries),
        "key_segment_ids_BM": PartitionSpec(rows),
        "bidirectional_keys_BM": PartitionSpec(rows),
    }
    ids_specs = {name: spec for name, spec in ids.items() if getattr(mask, name) is not None}
    table_RH = None if bias is None else bias.table_RH

    def on_device(
        q_BLHK: jax.Array,
        k_BMGK: jax.Array,
        v_BMGK: jax.Array,
        ids: dict[str, jax.Array],
        table_RH: jax.Array | None,
    ) -> jax.Array:
        offset = 0 if queries is None else jax.lax.axis_index(queries) * q_BLHK.shape[1]
        if not divides_keys:
            head = jax.lax.axis_index(heads) * q_BLHK.shape[2] * kv_heads // num_heads
            k_BMGK, v_BMGK = (jax.lax.dynamic_slice_in_dim(x, head, 1, axis=2) for x in (k_BMGK, v_BMGK))
        return kernel(
            q_BLHK,
            k_BMGK,
            v_BMGK,
            mask=replace(mask, query_offset=offset, **ids),
            bias=bias and replace(bias, table_RH=table_RH, query_offset=offset, computed_HLM=None),
        )

    return jax.shard_map(
        on_device,
        mesh=partitioner.mesh,
        in_specs=(query_spec, key_spec, key_spec, ids_specs, PartitionSpec(None, heads)),
        out_specs=query_spec,
        check_vma=False,  # a kernel does not tell over which axes its results differ
    )(q_BLHK, k_BMGK, v_BMGK, {name: getattr(mask, name) for name in ids_specs}, table_RH)
