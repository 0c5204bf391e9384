"""Kernels of int8: how far from those that they stand for, and that layers read them as those floats."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import VOCAB_SIZE
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiny_models import make_batch, make_config, make_params

from t5lite.adapters import PromptTuning
from t5lite.cpu.int8_products import int8_product
from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig, Execution, RotaryPositions
from t5lite.models.functional import build
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.models.layers.projection import project
from t5lite.models.quantization import quantized, with_kernels
from t5lite.partitioning.rules import is_logical_axes

MAGNITUDES = st.one_of(st.just(0.0), st.floats(2.0**-66, 2.0**66, width=32))
KERNELS = arrays.arrays(
    np.float32,
    (2, 5, 4),
    elements=st.builds(lambda size, sign: np.float32(size * sign), MAGNITUDES, st.sampled_from((-1, 1))),
)


def floats(kernel):
    values, scales = np.asarray(kernel.values_IO, np.float64), np.asarray(kernel.scales_O, np.float64)
    return values * scales[..., None, :]


rounded = jax.jit(Int8Kernel.of)


@settings(deadline=None)
@given(KERNELS)
def test_a_weight_is_half_a_step_from_its_own_at_most(weights):
    kernel = rounded(weights)
    greatest = np.abs(weights.astype(np.float64)).max(axis=-2)
    assert kernel.values_IO.dtype == jnp.int8
    np.testing.assert_allclose(kernel.scales_O, greatest / 127, rtol=1e-6)
    half = np.asarray(kernel.scales_O, np.float64)[..., None, :] / 2
    assert (np.abs(floats(kernel) - weights) <= half * (1 + 1e-4)).all()
    assert np.abs(np.asarray(kernel.values_IO, np.int32)).max() in (0, 127)
    assert not floats(kernel)[weights == 0].any()


def test_an_outlier_costs_its_own_column_alone():
    weights = np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32)
    calm = floats(rounded(weights))
    weights[3, 5] = 1000.0
    kernel = rounded(weights)
    np.testing.assert_array_equal(np.delete(floats(kernel), 5, axis=1), np.delete(calm, 5, axis=1))
    assert int(kernel.values_IO[3, 5]) == 127
    assert not np.delete(floats(kernel)[:, 5], 3).any()  # less than half of 1000 / 127


@pytest.mark.parametrize("shape", [(300, 700), (307, 700), (7, 5), (1, 1)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_product_is_that_of_the_floats(shape, dtype):
    """The first ones have more floats than are made at a time."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 3, shape[0])), dtype)
    kernel = Int8Kernel.of(jnp.asarray(rng.standard_normal(shape), jnp.float32))
    y = project("BLD,DF->BLF", x, kernel.astype(dtype))
    expected = np.asarray(x, np.float64) @ floats(kernel)
    assert y.dtype == dtype
    tolerance = 1e-5 if dtype == jnp.float32 else 2**-8
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=tolerance, atol=20 * tolerance)


@given(
    tokens=st.integers(1, 9000),
    rows=st.sampled_from([1, 521, 1021, 1024, 2816]),
    columns=st.integers(1, 5000),
)
def test_a_product_reads_and_writes_its_result_no_oftener_than_twice_its_kernel(tokens, rows, columns):
    """Whatever divides the rows; or parts are as large as a cache holds."""
    shapes = (
        jax.ShapeDtypeStruct((tokens, rows), jnp.float32),
        jax.ShapeDtypeStruct((rows, columns), jnp.int8),
    )
    program = jax.make_jaxpr(partial(int8_product, "LD,DF->LF"))(*shapes)
    turns = sum(each.params["length"] for each in program.eqns if each.primitive.name == "scan")
    assert turns * max(tokens, 256 * 1024 // (4 * columns)) <= 2 * rows


MODELS = {
    "answers": make_config(),
    "continues": DecoderOnlyConfig(
        vocab_size=VOCAB_SIZE, embed_dim=16, mlp_dim=24, head_dim=4, num_heads=4, num_kv_heads=2,
        num_layers=3, positions=RotaryPositions(), tie_embeddings=True,
    ),
    "encodes": EncoderOnlyConfig(
        vocab_size=VOCAB_SIZE, embed_dim=16, mlp_dim=24, head_dim=4, num_heads=4, num_layers=2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_kernels_of_layers_are_int8_and_nothing_else(name):
    model = build(MODELS[name])
    small = quantized(model)
    given = jax.eval_shape(lambda params: with_kernels(model, params, Int8Kernel.of), model.abstract_params)
    assert given == small.abstract_params
    axes = jax.tree.leaves(small.logical_axes, is_leaf=is_logical_axes)
    assert [len(each) for each in axes] == [leaf.ndim for leaf in jax.tree.leaves(given)]
    paths = {
        tuple(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            given, is_leaf=lambda leaf: isinstance(leaf, Int8Kernel)
        )
    }
    products = ("query", "key", "value", "out", "wi", "wi_0", "wi_1", "wo")
    found = {path for path, leaf in paths.items() if isinstance(leaf, Int8Kernel)}
    assert found == {path for path in paths if path[-1] in products}
    assert len(found) >= 5


def test_a_prompt_that_was_tuned_stands_beside_them():
    model = PromptTuning(num_tokens=3, initialization="random").adapt(build(make_config()))
    small = quantized(model)
    logits = jax.eval_shape(lambda params: small.bind(params)(make_batch()), small.abstract_params)
    assert logits.shape == (2, 5, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("remat", ["none", "gathered"])
def test_a_model_computes_with_them_as_with_their_floats(name, remat):
    model = build(MODELS[name], Execution(remat=remat))
    given = with_kernels(model, make_params(model), Int8Kernel.of)
    as_floats = jax.tree.map(
        lambda leaf: jnp.asarray(floats(leaf), jnp.float32) if isinstance(leaf, Int8Kernel) else leaf,
        given,
        is_leaf=lambda leaf: isinstance(leaf, Int8Kernel),
    )
    batch = make_batch()

    @jax.jit
    def outputs(params):
        return quantized(model).bind(params).outputs(batch)["tokens"].logits()

    np.testing.assert_allclose(outputs(given), outputs(as_floats), rtol=1e-4, atol=1e-4)
