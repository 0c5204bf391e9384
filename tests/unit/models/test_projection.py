"""Gradients written by hand equal those that JAX derives from the same einsum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.models.layers.projection import project
from t5lite.models.layers.scale import scale_features

SIZES = {"B": 2, "L": 5, "D": 6, "F": 7, "H": 3, "K": 4, "V": 11}
SPECS = ["BLD,DF->BLF", "BLF,FD->BLD", "BLD,DHK->BLHK", "BLHK,HKD->BLD", "BLD,VD->BLV"]


def normal(axes, seed, dtype=np.float32):
    shape = [SIZES[axis] for axis in axes]
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_projection_is_the_einsum(spec, dtype):
    inputs, y_axes = spec.split("->")
    x, kernel, y_bar = (normal(axes, seed, dtype) for seed, axes in enumerate([*inputs.split(","), y_axes]))
    y, vjp = jax.vjp(lambda x, kernel: project(spec, x, kernel), x, kernel)
    expected_y, expected_vjp = jax.vjp(lambda x, kernel: jnp.einsum(spec, x, kernel), x, kernel)
    tolerance = 1e-6 if dtype == jnp.float32 else 2**-7
    for actual, expected in zip((y, *vjp(y_bar)), (expected_y, *expected_vjp(y_bar)), strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(
            actual.astype(np.float32), expected.astype(np.float32), rtol=tolerance, atol=10 * tolerance
        )


def test_kernel_gradient_is_not_transposed():
    """The order of the operands is what the function is for: a transposed result costs a copy on CPU."""
    x, kernel = normal("BLD", 0), normal("DF", 1)
    gradient = jax.grad(lambda kernel: project("BLD,DF->BLF", x, kernel).sum())
    equations = jax.make_jaxpr(gradient)(kernel).eqns
    assert "transpose" not in [str(equation.primitive) for equation in equations]


@pytest.mark.parametrize(("rows", "columns", "left"), [(9, 7, "narrow"), (7, 7, "wide"), (9, 5, "wide")])
def test_the_narrower_operand_of_a_kernel_gradient_is_the_left_one(rows, columns, left):
    """Where the result, which is turned round then, is small beside the product."""
    x, kernel = jnp.ones((1, rows, columns)), jnp.arange(6.0 * columns).reshape(columns, 6)
    y, gradient = jax.vjp(lambda kernel: project("BLF,FD->BLD", x, kernel), kernel)
    (product,) = (
        equation
        for equation in jax.make_jaxpr(gradient)(y).eqns
        if equation.primitive.name == "dot_general" and equation.outvars[0].aval.size == kernel.size
    )
    assert (product.outvars[0].aval.shape == kernel.shape[::-1]) == (left == "narrow")
    np.testing.assert_allclose(gradient(y)[0], jnp.einsum("BLF,BLD->FD", x, y), rtol=1e-6)


def test_scale_gradient_is_the_sum_over_rows():
    x, scale, y_bar = normal("BLD", 0), normal("D", 1), normal("BLD", 2)
    y, vjp = jax.vjp(scale_features, x, scale)
    x_bar, scale_bar = vjp(y_bar)
    np.testing.assert_array_equal(y, x * scale[None, None])
    np.testing.assert_array_equal(x_bar, y_bar * scale[None, None])
    expected = np.einsum("BLD,BLD->D", *(np.asarray(a, np.float64) for a in (y_bar, x)))
    np.testing.assert_allclose(scale_bar, expected, rtol=1e-6, atol=1e-6)
