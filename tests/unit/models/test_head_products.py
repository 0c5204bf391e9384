"""Attention's products as a CPU computes them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.cpu.head_products import head_product
from t5lite.models.layers import head_products
from t5lite.models.layers.attention_ops import dot_product_attention

SIZES = {"B": 2, "L": 5, "M": 7, "H": 4, "G": 2, "S": 2, "K": 3}
SPECS = ["BLHK,BMHK->BHLM", "BHLM,BMHK->BLHK", "BLGSK,BMGK->BGSLM", "BGSLM,BMGK->BLGSK"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", SPECS)
def test_products_and_gradients_are_einsums(spec, dtype):
    operands, out_axes = spec.split("->")
    rng = np.random.default_rng(0)

    def array(axes, bound, dtype):
        return jnp.asarray(rng.integers(-bound, bound + 1, [SIZES[axis] for axis in axes]), dtype)

    out_dtype = jnp.dtype("float32")
    arrays = [array(axes, 3, dtype) for axes in operands.split(",")]
    out_bar = array(out_axes, 5000, out_dtype)  # which bfloat16 would round
    got, expected = (
        (lambda out, pullback: [out, *pullback(out_bar)])(*jax.vjp(product, *arrays))
        for product in (
            lambda x, keys: head_product(spec, out_dtype, x, keys),
            lambda x, keys: jnp.einsum(spec, x, keys, preferred_element_type=out_dtype),
        )
    )
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)  # of whole numbers every sum is exact in float32


def test_no_product_of_a_cpu_adds_up_the_columns_of_all_pairs():
    """XLA's library refuses those, and XLA's own product for them is slow."""
    q, k = jnp.ones((2, 16, 4, 8)), jnp.ones((2, 24, 4, 8))

    def loss(q, k, v):
        return jnp.sum(jnp.sin(dot_product_attention(q * 2, k * 2, v * 2)).reshape(2, 16, 32))

    hlo = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(q, k, k).compile().as_text()
    products = re.findall(r"f32\[[\d,]+\]\S* dot\(.*lhs_contracting_dims=\{(\d)\}", hlo)
    assert len(products) == 6
    assert set(products) == {"3"}


def test_other_platforms_leave_the_order_to_xla(monkeypatch):
    monkeypatch.setattr(head_products, "target_platform", lambda: "tpu")
    q = jnp.ones((2, 16, 4, 8))
    jaxpr = jax.make_jaxpr(dot_product_attention)(q, q, q)
    assert "custom_vjp" not in str(jaxpr)
