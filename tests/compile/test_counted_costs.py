"""FLOPs, bytes and collectives counted in programs small enough to count by hand."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from t5lite.planning.compiled import hlo_costs, traffic
from t5lite.planning.compiled.collectives import collectives
from tests.compile.programs import array, compiled, mesh

ROWS, WIDTH, TRIPS = 256, 512, 7


def flops(module):
    return sum(product.flops for product in hlo_costs.products(module))


@pytest.fixture(scope="module")
def square():
    return mesh({"fsdp": 2, "tensor": 2})


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_product_in_a_loop_counts_as_often_as_it_runs(dtype):
    """x W, TRIPS times: 2 m n k each; ``cost_analysis`` counts one."""
    alone = mesh({"data": 4})

    def program(x, kernels):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, kernels)[0]

    x, kernels = array(alone, (4 * ROWS, WIDTH), "data", dtype=dtype), (TRIPS, WIDTH, WIDTH)
    module = compiled(program, x, array(alone, kernels, dtype=dtype)).module
    assert flops(module) == 2 * ROWS * WIDTH * WIDTH * TRIPS


def test_nested_loops_multiply():
    alone = mesh({"data": 4})

    def program(x, kernels):
        def inner(x, _):
            return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, kernels)[0], None

        return jax.lax.scan(inner, x, None, length=5)[0]

    x = array(alone, (4 * ROWS, WIDTH), "data")
    module = compiled(program, x, array(alone, (TRIPS, WIDTH, WIDTH))).module
    assert flops(module) == 2 * ROWS * WIDTH * WIDTH * TRIPS * 5


def test_a_batched_product_counts_its_batch():
    alone = mesh({"data": 4})
    q = array(alone, (8, 4, 256, 64), "data")
    module = compiled(lambda q, k: jnp.einsum("BHLK,BHMK->BHLM", q, k), q, q).module
    assert flops(module) == 2 * 2 * 4 * 256 * 256 * 64


def test_a_float32_product_at_highest_precision_costs_six_passes():
    alone = mesh({"data": 4})
    x = array(alone, (4 * ROWS, WIDTH), "data", dtype="float32")
    w = array(alone, (WIDTH, WIDTH), dtype="float32")
    products = hlo_costs.products(compiled(functools.partial(jnp.matmul, precision="highest"), x, w).module)
    assert [product.passes for product in products] == [6]
    assert sum(product.flops for product in products) == 2 * ROWS * WIDTH * WIDTH


def test_a_product_is_told_by_its_source_line():
    alone = mesh({"data": 4})
    x = array(alone, (4 * ROWS, WIDTH), "data")
    (product,) = hlo_costs.products(compiled(_named_product, x, array(alone, (WIDTH, WIDTH))).module)
    assert "projection" in product.op_name
    assert product.source.endswith(f"{__file__}:{_named_product.__code__.co_firstlineno + 2}")


def _named_product(x, w):
    with jax.named_scope("projection"):
        return x @ w


def test_main_memory_is_read_and_written_once_by_an_elementwise_program():
    alone = mesh({"data": 4})
    megabytes = 64
    x = array(alone, (4 * megabytes, 2**19), "data")
    module = compiled(lambda x: x * 2 + 1, x).module
    assert traffic.main_memory_bytes(module) == 2 * megabytes * 2**20


def test_instructions_in_a_row_take_the_longer_of_product_and_traffic():
    alone = mesh({"data": 4})
    x, w = array(alone, (4 * ROWS, WIDTH), "data"), array(alone, (WIDTH, WIDTH))
    module = compiled(lambda x, w: x @ w, x, w).module
    costs = functools.partial(hlo_costs.Costs, module)
    by_product = hlo_costs.serial_seconds(module, costs(flops_per_second=1.0, memory_bandwidth=1e30))
    assert by_product == flops(module)
    by_traffic = hlo_costs.serial_seconds(module, costs(flops_per_second=1e30, memory_bandwidth=1.0))
    assert by_traffic == traffic.main_memory_bytes(module)


@pytest.mark.parametrize("axis", ["fsdp", "tensor"])
def test_a_sum_over_an_axis(square, axis):
    """A ring of two sends its half twice."""

    def program(x):
        return jax.shard_map(
            lambda x: jax.lax.psum(x, axis),
            mesh=square,
            in_specs=PartitionSpec(axis),
            out_specs=PartitionSpec(),
        )(x)

    module = compiled(program, array(square, (2 * 1024, 128), axis, dtype="float32")).module
    (found,) = collectives(module, square.shape)
    assert (found.kind, found.axes, found.group_size, found.runs) == ("all-reduce", (axis,), 2, 1)
    assert found.sent_bytes == 2 * (1 / 2) * 1024 * 128 * 4
    assert found.group == {"fsdp": (0, 2), "tensor": (0, 1)}[axis]


def test_a_gather_in_a_loop_over_both_axes(square):
    """Kernels that are sharded over four devices are gathered layer by layer: three quarters are sent."""

    def program(x, kernels):
        def layer(x, w):
            whole = jax.lax.with_sharding_constraint(w, jax.NamedSharding(square, PartitionSpec()))
            return jnp.tanh(x @ whole), None

        return jax.lax.scan(layer, x, kernels)[0]

    x = array(square, (4 * ROWS, WIDTH), ("fsdp", "tensor"))
    kernels = array(square, (TRIPS, WIDTH, WIDTH), None, ("fsdp", "tensor"))
    found = collectives(compiled(program, x, kernels).module, square.shape)
    assert {(each.kind, each.axes) for each in found} == {("all-gather", ("fsdp", "tensor"))}
    assert sum(each.total_bytes for each in found) == TRIPS * (3 / 4) * WIDTH * WIDTH * 2


def test_a_sum_over_slices_crosses_the_network():
    """Each of two slices of four: a device sums over the slice first, then sends its quarter."""
    slices = mesh({"replica": 2, "fsdp": 4}, num_slices=2)

    def program(x):
        return jnp.sum(x, axis=0)

    x = array(slices, (8, 64, 1024), ("replica", "fsdp"), dtype="float32")
    found = collectives(compiled(program, x).module, slices.shape, num_slices=2)
    across = [each for each in found if each.network == "network"]
    assert {each.axes for each in across} == {("replica",)}
    assert {each.kind for each in across} == {"all-reduce"}
    whole = 64 * 1024 * 4
    assert sum(each.total_bytes for each in across) in (whole, whole / 4)
    assert {each.axes for each in found if each.network == "links"} == {("fsdp",)}


@pytest.mark.slow
def test_memory_at_the_peak_is_what_the_compiler_reports(square):
    """A product that is kept while another is made: both are in memory at once."""

    def program(x, w):
        first = jnp.sin(x @ w)
        second = jnp.cos(first @ w)
        return (first * second).sum()

    x, w = array(square, (16384, 8192), "fsdp"), array(square, (8192, 8192))
    found = compiled(program, x, w)
    assert sum(buffer.num_bytes for buffer in found.occupancy.buffers) == pytest.approx(
        found.peak_bytes, rel=0.01
    )
    largest = found.occupancy.buffers[0]
    assert largest.num_bytes >= 8192 * 8192 * 2
