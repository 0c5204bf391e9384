"""Logits made chunk by chunk give the losses and gradients of logits made at once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from t5lite.models.layers.logits import LogitFactors
from t5lite.training import logit_statistics
from t5lite.training.losses import token_losses

VOCAB_SIZE, EMBED_DIM = 23, 6


def factors(kernel_axes, *, with_bias, dtype=jnp.float32):
    random = np.random.default_rng(0)
    shape = [VOCAB_SIZE if axis == "vocab" else EMBED_DIM for axis in kernel_axes]
    x_BLD, kernel, bias_V = (
        jnp.asarray(3 * random.normal(size=size), jnp.float32)
        for size in ((3, 5, EMBED_DIM), shape, (VOCAB_SIZE,))
    )
    return LogitFactors(x_BLD.astype(dtype), kernel, bias_V if with_bias else None, kernel_axes)


def losses_and_gradients(factors, **options):
    random = np.random.default_rng(1)
    targets_BL = jnp.asarray(random.integers(0, VOCAB_SIZE, (3, 5)), jnp.int32)
    weights_BL = jnp.asarray(random.random((3, 5)) * (random.random((3, 5)) < 0.7), jnp.float32)

    def objective(factors):
        losses = token_losses(factors, targets_BL, weights_BL, z_loss=1e-2, **options)
        return losses.objective.total, losses

    return jax.jit(jax.value_and_grad(objective, has_aux=True))(factors)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("kernel_axes", "with_bias"), [(("embed", "vocab"), False), (("vocab", "embed"), True)], ids=str
)
@pytest.mark.parametrize("vocab_chunks", [2, 4, VOCAB_SIZE + 1])
def test_chunks_change_nothing(kernel_axes, with_bias, label_smoothing, vocab_chunks):
    """23 ids do not divide into chunks: the last one overlaps with the one before."""
    parts = factors(kernel_axes, with_bias=with_bias)
    (_, expected), expected_gradient = losses_and_gradients(
        parts, label_smoothing=label_smoothing, vocab_chunks=1
    )
    (_, found), gradient = losses_and_gradients(
        parts, label_smoothing=label_smoothing, vocab_chunks=vocab_chunks
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


def test_a_target_outside_of_the_vocabulary_has_a_logit_of_0_and_no_gradient():
    """In chunks, too, of which the last of 23 ids begins with some that are stale, and marked by -1."""
    parts = factors(("embed", "vocab"), with_bias=False)
    targets_BL = jnp.asarray([[-1, -2, -23, -(2**31), -1]] * 2 + [[VOCAB_SIZE, 24, 2**31 - 1, -1, 22]])

    def target(x_BLD):
        found = logit_statistics.logit_statistics(
            dataclasses.replace(parts, x_BLD=x_BLD), targets_BL, num_chunks=4
        )
        return jnp.sum(found.target), found.target

    gradient_BLD, target_BL = jax.grad(target, has_aux=True)(parts.x_BLD)
    for array in (target_BL, gradient_BLD):
        rows = jnp.abs(array).reshape(15, -1).max(axis=1)
        assert rows[:14].max() == 0 < rows[14]


def test_bfloat16_factors_are_multiplied_into_float32():
    parts = factors(("embed", "vocab"), with_bias=False, dtype=jnp.bfloat16)
    (_, whole), whole_gradient = losses_and_gradients(parts, vocab_chunks=1)
    (_, chunked), gradient = losses_and_gradients(parts, vocab_chunks=4)
    assert chunked.loss.total.dtype == jnp.float32
    np.testing.assert_allclose(chunked.loss.total, whole.loss.total, rtol=1e-6)
    # The gradient of the logits is rounded to bfloat16, as the matrix unit of a TPU does.
    scale = float(jnp.abs(whole_gradient.kernel).max())
    np.testing.assert_allclose(gradient.kernel, whole_gradient.kernel, atol=2**-7 * scale)


def test_the_number_of_chunks_follows_the_size_of_the_logits(monkeypatch):
    parts = factors(("embed", "vocab"), with_bias=False)
    assert logit_statistics._cut(parts, None).count == 1
    logits_bytes = 4 * 3 * 5 * VOCAB_SIZE
    monkeypatch.setattr(logit_statistics, "MAX_CHUNK_BYTES_OF_CPU", logits_bytes // 3)
    chunks = logit_statistics._cut(parts, None)
    assert (chunks.count, chunks.size) == (3, 8)


def test_chunks_hold_less_memory_than_whole_logits():
    def temporary_bytes(vocab_chunks):
        x_BLD = jax.ShapeDtypeStruct((8, 64, 16), jnp.float32)
        kernel = jax.ShapeDtypeStruct((16, 8192), jnp.float32)
        targets_BL = jax.ShapeDtypeStruct((8, 64), jnp.int32)

        def objective(x_BLD, kernel, targets_BL):
            whole = LogitFactors(x_BLD, kernel, None, ("embed", "vocab"))
            ones_BL = jnp.ones(targets_BL.shape)
            return token_losses(whole, targets_BL, ones_BL, vocab_chunks=vocab_chunks).objective.total

        step = jax.jit(jax.grad(objective, argnums=(0, 1)))
        compiled = step.lower(x_BLD, kernel, targets_BL).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(16) < temporary_bytes(1) / 4


@pytest.mark.parametrize(("platform", "count"), [("cpu", 1), ("tpu", 2)])
def test_half_a_gibibyte_of_logits_is_whole_on_a_cpu(monkeypatch, platform, count):
    monkeypatch.setattr(logit_statistics, "target_platform", lambda: platform)
    x_BLD = jax.ShapeDtypeStruct((8, 512, 16), jnp.float32)
    kernel = jax.ShapeDtypeStruct((2**15, 16), jnp.float32)
    factors = LogitFactors(x_BLD, kernel, None, ("vocab", "embed"))
    assert logit_statistics._cut(factors, None).count == count


@st.composite
def confusable_logits(draw):
    """Logits of one token with ties, NaN and infinities, and its label."""
    logits_V = draw(
        arrays(np.float32, 12, elements=st.sampled_from([0.0, 1.0, -2.0, np.inf, -np.inf, np.nan]))
    )
    return logits_V, draw(st.integers(0, 11))


@settings(deadline=None, max_examples=30)
@given(confusable_logits())
@example((np.zeros(12, np.float32), 0))
@example((np.full(12, np.nan, np.float32), 3))
@example((np.eye(12, dtype=np.float32)[5], 5))
def test_ties_and_what_is_not_finite_are_misses(logits_and_label):
    """However the logits are made: whole, in chunks, or in chunks of three shares of the vocabulary."""
    logits_V, label = logits_and_label
    with np.errstate(invalid="ignore"):
        is_hit = bool(np.all(logits_V[label] > np.delete(logits_V, label)))
    is_hit &= not np.isnan(logits_V).any() and bool(np.max(logits_V) < np.inf)
    for accuracy in ACCURACIES:
        assert float(accuracy(logits_V, np.full((1, 2), label, np.int32))) == 2 * is_hit


def _accuracy_of_factors(num_shares, logits_V, targets_BL):
    """Everything is in the bias, which keeps it as it is."""
    kernel = jnp.zeros((EMBED_DIM, logits_V.size))
    parts = LogitFactors(jnp.zeros((1, 2, EMBED_DIM)), kernel, logits_V, ("embed", "vocab"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            logit_statistics, "local_shape", lambda shape, axes: (*shape[:2], shape[2] // num_shares)
        )
        return token_losses(parts, targets_BL, jnp.ones((1, 2)), vocab_chunks=3).accuracy.total


def _accuracy_of_logits(logits_V, targets_BL):
    logits_BLV = jnp.broadcast_to(logits_V, (1, 2, logits_V.size))
    return token_losses(logits_BLV, targets_BL, jnp.ones((1, 2))).accuracy.total


ACCURACIES = [
    jax.jit(_accuracy_of_logits),
    jax.jit(functools.partial(_accuracy_of_factors, 1)),
    jax.jit(functools.partial(_accuracy_of_factors, 3)),
]


def test_a_cpu_looks_targets_up_and_their_gradient_is_no_scatter(monkeypatch):
    """The same to the bit as by the masked sum, as is the gradient: of targets that repeat, and of no ids."""
    logits_BLV = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 7)), jnp.float32)
    targets_BL = jnp.asarray([[0, 6, 6], [3, 3, 0], [-1, 7, 2**31 - 1], [-7, -8, -(2**31)]], jnp.int32)

    def found():
        def weighted(logits_BLV):
            target_BL = logit_statistics.logit_statistics(logits_BLV, targets_BL).target
            return jnp.sum(target_BL * jnp.asarray([[1.0, 2.0, 3.0]])), target_BL

        grad = jax.grad(weighted, has_aux=True)
        return str(jax.make_jaxpr(grad)(logits_BLV)), *grad(logits_BLV)

    program, *of_cpu = found()
    monkeypatch.setattr(logit_statistics, "target_platform", lambda: "tpu")
    masked, *expected = found()
    assert "gather" in program
    assert "scatter" not in program
    assert "gather" not in masked
    for a, b in zip(of_cpu, expected, strict=True):
        np.testing.assert_array_equal(a, b)
