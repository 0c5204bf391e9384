"""Products as XLA writes them, counted against counting one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.planning.compiled import hlo, hlo_costs, traffic

SMALL = st.integers(1, 7)


def one_by_one(in_size, out_size, size, stride, low, base_dilation, window_dilation):
    """As ``HloCostAnalysis::HandleConvolution`` does it."""
    valid = 0
    for window_position in range(size):
        for output in range(out_size):
            place = output * stride - low + window_position * window_dilation
            if place % base_dilation == 0 and 0 <= place // base_dilation < in_size:
                valid += 1
    return valid


@settings(deadline=None)
@given(in_size=SMALL, out_size=SMALL, window=st.tuples(SMALL, SMALL, st.integers(-9, 9), SMALL, SMALL))
def test_positions_that_meet_an_element_are_counted(in_size, out_size, window):
    size, stride, low, base_dilation, window_dilation = window
    found = convolution_flops(in_size, out_size, size, stride, low, base_dilation, window_dilation)
    assert found == 2 * one_by_one(in_size, out_size, *window)


def convolution_flops(in_size, out_size, size, stride, low, base_dilation, window_dilation):
    """Of a convolution of one feature: two for every position that meets an element."""
    window = (
        f"size={size} stride={stride} pad={low}_0 lhs_dilate={base_dilation} rhs_dilate={window_dilation}"
    )
    text = f"""
ENTRY %main (x: f32[1,1,{in_size}], w: f32[1,1,{size}]) -> f32[1,1,{out_size}] {{
  %x = f32[1,1,{in_size}] parameter(0)
  %w = f32[1,1,{size}] parameter(1)
  ROOT %y = f32[1,1,{out_size}] convolution(%x, %w), window={{{window}}}, dim_labels=bf0_io0->bf0
}}
"""
    return sum(product.flops for product in hlo_costs.products(hlo.parse(text)))


def test_a_kernel_costs_what_it_says():
    """Its arrays do not tell: it may read them more than once, and what it multiplies is not written."""
    estimate = '"cost_estimate":{"flops":"1000","transcendentals":"7","bytes_accessed":"96"}'
    text = f"""
ENTRY %main (x: f32[4]) -> f32[4] {{
  %x = f32[4] parameter(0)
  ROOT %y = f32[4] custom-call(%x), custom_call_target="tpu_custom_call", backend_config={{{estimate}}}
}}
"""
    module = hlo.parse(text)
    assert [product.flops for product in hlo_costs.products(module)] == [1000]
    assert traffic.main_memory_bytes(module) == 96
    unknown = hlo.parse(text.replace("cost_estimate", "other"))
    assert hlo_costs.products(unknown) == []
    assert traffic.main_memory_bytes(unknown) == 2 * 4 * 4


def test_a_batch_as_a_window_costs_no_memory():
    """A batch dimension of a product as the TPU's compiler writes it: as many windows, almost all padding."""
    many = 1 << 20
    assert convolution_flops(many, many, many, many - 1, 0, many, 1) == 2 * many


def test_a_library_call_of_a_gpu_is_a_product():
    config = (
        '{"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"x":["0"]}}}'
    )
    call = 'custom-call(%x, %w), custom_call_target="__cublas$gemm"'
    text = f"""
ENTRY %main (x: bf16[16,64], w: bf16[64,32]) -> (bf16[16,32], s8[4096]) {{
  %x = bf16[16,64] parameter(0)
  %w = bf16[64,32] parameter(1)
  ROOT %y = (bf16[16,32], s8[4096]) {call}, backend_config={config}
}}
"""
    (product,) = hlo_costs.products(hlo.parse(text))
    assert product.flops == 2 * 16 * 32 * 64
