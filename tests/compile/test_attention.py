"""The attention kernels, compiled for TPUs that are not here."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh

from t5lite.models.config import EncoderDecoderConfig, Execution
from t5lite.models.functional import build
from t5lite.models.kernels.flash_attention import flash_attention
from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention
from t5lite.models.layers.position import RelativeBias
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.planning.compiled import hlo_costs
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology
from tests.compile.programs import array, compiled, mesh

pytestmark = pytest.mark.slow

TOPOLOGIES = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
KINDS = {
    "encoder": {"lengths": (1024, 1024), "causal": False, "bidirectional": True},
    "decoder": {"lengths": (640, 640), "causal": True, "bidirectional": False},
    "prefix": {"lengths": (256, 256), "causal": True, "bidirectional": None, "prefix": True},
    "cross": {"lengths": (114, 512), "causal": False, "bidirectional": None},
    "grouped, capped, local": {
        "lengths": (1024, 1024), "causal": False, "bidirectional": True, "heads": 4, "kv_heads": 2,
        "window": (300, 200), "softcap": 50.0,
    },
}  # fmt: skip


def gradients(
    op, q, k, v, table, query_ids, key_ids, prefix, *, causal, bidirectional, window=None, **options
):
    """Return the gradients of the op's summed sines: forward and backward in one program."""
    mask = AttentionMask(
        causal=causal,
        query_segment_ids_BL=query_ids,
        key_segment_ids_BM=key_ids,
        bidirectional_keys_BM=prefix,
        window=window,
    )

    def loss(q, k, v, table):
        bias = None if bidirectional is None else RelativeBias(table, bidirectional, 128)
        return jnp.sum(jnp.sin(op(q, k, v, mask=mask, bias=bias, **options).astype(jnp.float32)))

    return jax.grad(loss, argnums=(0, 1, 2, 3))(q, k, v, table)


def reference(q, k, v, *, mask, bias):
    bias_HLM = None if bias is None else bias.array(q.shape[1], k.shape[1])
    return dot_product_attention(q, k, v, mask=mask, bias_HLM=bias_HLM)


def compiled_gradients(
    op, topology, *, lengths, prefix=False, heads=16, kv_heads=None, head_dim=64, **options
):
    alone = Mesh(mesh({"data": 4}, topology).devices[:1], ("data",))
    rows, (query_length, key_length) = 1, lengths
    queries = array(alone, (rows, query_length, heads, head_dim))
    keys = array(alone, (rows, key_length, kv_heads or heads, head_dim))
    ids = functools.partial(array, alone, dtype="int32")
    program = functools.partial(gradients, op, **options)
    return compiled(
        program,
        queries,
        keys,
        keys,
        array(alone, (32, heads), dtype="float32"),
        ids((rows, query_length)),
        ids((rows, key_length)),
        ids((rows, key_length)) if prefix else None,
    )


@functools.cache
def flash_gradients(kind, chip):
    return compiled_gradients(flash_attention, TOPOLOGIES[chip], **KINDS[kind])


@pytest.mark.parametrize("chip", TOPOLOGIES)
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_compile(kind, chip):
    program = flash_gradients(kind, chip)
    names = ["flash_attention_backward", "flash_attention_delta", "flash_attention_forward"]
    assert kernels(program.module) == names


def kernels(module):
    """Return the names of all kernels that the module calls."""
    calls = (each for _, each in module.walk() if "tpu_custom_call" in each.attributes)
    return sorted(
        name for call in calls for name in re.findall(r"flash_attention_(?:\w+ward|delta)", call.op_name)
    )


def largest_array(module):
    """Return the most elements of any array, those inside fusions included."""
    return max(math.prod(array.dims) for _, instruction in module.walk() for array in instruction.arrays)


def test_a_long_encoder_needs_no_array_of_both_lengths():
    """T5 large's self-attention on 4,096 tokens: a fifth of the reference op's memory was asked for."""
    length = 4096
    case = {"lengths": (length, length), "causal": False, "bidirectional": True}
    by_kernel = compiled_gradients(flash_attention, "v5e:2x2", **case)
    assert largest_array(by_kernel.module) < length * length / 2
    by_reference = compiled_gradients(reference, "v5e:2x2", **case)
    assert largest_array(by_reference.module) >= 16 * length * length
    assert by_kernel.peak_bytes < by_reference.peak_bytes / 5


@pytest.mark.parametrize(
    ("chip", "window", "num_tiles"),
    [("v5e", None, 16 * 17 // 2), ("v6e", None, 16 * 17 // 2), ("v5e", (1023, 0), 3 * 16 - 3)],
    ids=["v5e", "v6e", "v5e, window"],
)
def test_shared_heads_need_megabytes_and_a_window_costs_what_it_sees(chip, window, num_tiles):
    """Llama 3's 32 heads over 8 on 8,192 tokens: the reference op asks for 16 GiB."""
    length, columns, tile = 8192, 32 * 128, 512
    case = {"lengths": (length, length), "causal": True, "bidirectional": None, "window": window}
    program = compiled_gradients(
        flash_attention, TOPOLOGIES[chip], **case, heads=32, kv_heads=8, head_dim=128
    )
    assert program.peak_bytes < 600 * 2**20
    assert largest_array(program.module) <= length * columns
    assert kernel_flops(program) == [2 * n * num_tiles * tile**2 * columns for n in (2, 5)]


def kernel_flops(program):
    products = hlo_costs.products(program.module)
    return sorted(product.flops for product in products if "flash" in product.op_name)


def test_the_kernels_cost_is_counted():
    """Two products forward, five backward, of which one is the logits again."""
    length, columns = 1024, 1024
    program = flash_gradients("encoder", "v5e")
    assert kernel_flops(program) == [2 * n * length * length * columns for n in (2, 5)]


@pytest.mark.parametrize(
    "partitioning",
    [
        PartitioningConfig(fsdp=2, tensor=2, style="tensor_parallel"),
        PartitioningConfig(fsdp=1, sequence=2, tensor=2, style="sequence_parallel"),
    ],
    ids=lambda config: config.style,
)
def test_a_models_layers_call_the_kernel_on_a_mesh(partitioning):
    config = EncoderDecoderConfig(
        vocab_size=512,
        embed_dim=128,
        mlp_dim=256,
        head_dim=64,
        num_heads=4,
        num_encoder_layers=2,
        num_decoder_layers=1,
    )
    partitioner = make_partitioner(partitioning, compile_only_devices(parse_topology("v5e:2x2")))
    model = build(config, Execution(compute_dtype="bfloat16"))
    params = jax.tree.map(
        lambda x, axes: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=partitioner.sharding(axes, x.shape)),
        model.abstract_params,
        model.logical_axes,
    )
    tokens = jax.ShapeDtypeStruct((4, 512), jnp.int32, sharding=partitioner.batch_sharding)
    fields = ("encoder_input_tokens", "encoder_segment_ids", "decoder_input_tokens", "decoder_segment_ids")

    def program(params, batch):
        return jax.grad(lambda params: jnp.sum(jnp.sin(model.bind(params)(batch))))(params)

    with partitioner.activate():
        module = compiled(program, params, dict.fromkeys(fields, tokens)).module
    assert kernels(module).count("flash_attention_backward") == 3  # encoder, decoder, cross
    assert largest_array(module) < 4 * 512 * 512  # the table of both lengths for every head would have more
