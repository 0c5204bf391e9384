import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_training import VOCAB_SIZE, build, fresh, make_batch

from t5lite.core.errors import ConfigError
from t5lite.core.metrics import WeightedSum
from t5lite.models import functional
from t5lite.models.config import Execution
from t5lite.optim import AdamWConfig, Optimizer, WarmupCosine
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.training.state import TrainState, abstract_state, state_axes, state_from_params
from t5lite.training.step import (
    StepConfig,
    check_batch_size,
    compile_eval_step,
    compile_train_step,
    make_eval_step,
    make_train_step,
    split_microbatches,
)


def leaves_close(left, right, **tolerance):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), **tolerance)


def leaves_equal(left, right):
    leaves_close(left, right, rtol=0, atol=0)


@pytest.fixture(scope="module")
def by_microbatches():
    """The same step without dropout, in one to four microbatches; z-loss and smoothing large."""
    parts = build(dropout_rate=0.0)
    model, optimizer = parts.model, parts.optimizer

    def compiled(k):
        config = StepConfig(z_loss=0.01, label_smoothing=0.1, max_gradient_norm=0.5, num_microbatches=k)
        step = make_train_step(model, optimizer, config, seed=3)
        return SimpleNamespace(
            **vars(parts) | {"compiled": compile_train_step(step, model, optimizer, parts.partitioner)}
        )

    return {k: compiled(k) for k in (1, 2, 4)}


@pytest.mark.slow
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 1000), k=st.sampled_from([2, 4]), batch_size=st.just(8))
def test_k_microbatches_of_unequal_weight_equal_one_batch(by_microbatches, seed, k, batch_size):
    batch = make_batch(seed, batch_size=batch_size)
    batch["decoder_loss_weights"][seed % batch_size :: k] = 0  # one microbatch may have no weight at all
    one, many = by_microbatches[1], by_microbatches[k]
    state_one, metrics_one = one.compiled(fresh(one), batch)
    state_many, metrics_many = many.compiled(fresh(many), batch)
    leaves_close(metrics_one, metrics_many, rtol=2e-5, atol=1e-6)
    leaves_close(state_one.params, state_many.params, rtol=2e-4, atol=2e-6)


def test_each_microbatch_takes_rows_from_every_contiguous_block():
    rows = jnp.arange(12)[:, None]
    split = split_microbatches({"rows": rows}, 3)["rows"]
    np.testing.assert_array_equal(split[:, :, 0], [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])


def test_metrics_are_pure_cross_entropy_and_counts(tiny):
    batch = make_batch(0)
    _, metrics = tiny.compiled(fresh(tiny), batch)
    assert set(metrics) == {
        "loss", "z_loss", "token_accuracy", "grad_norm", "param_norm", "tokens", "nonfinite", "learning_rate"
    }  # fmt: skip
    assert isinstance(metrics["loss"], WeightedSum)
    assert float(metrics["loss"].weight) == batch["decoder_loss_weights"].sum()
    assert int(metrics["tokens"]) == 4 * 7 + batch["decoder_loss_weights"].sum()
    assert float(metrics["learning_rate"]) == pytest.approx(1e-2)


def test_parameters_in_bfloat16_are_refused_and_go_on_in_float32(tiny):
    """A norm's scale is 1 at first, and what moves it by less than 1/256 is lost in bfloat16."""
    narrow = functional.build(tiny.model.config, Execution(param_dtype="bfloat16"))
    with pytest.raises(ConfigError, match=r"param_dtype='bfloat16' cannot be trained: .*use float32, which"):
        make_train_step(narrow, tiny.optimizer, StepConfig(), seed=0)
    saved = jax.tree.map(lambda x: x.astype(jnp.bfloat16), fresh(tiny).params)
    params = jax.tree.map(lambda x: x.astype(jnp.float32), saved)
    state, _ = tiny.compiled(dataclasses.replace(fresh(tiny), params=params), make_batch(0))
    scales_D = state.params["decoder"]["final_norm"]["scale"]
    assert (scales_D != 1).all()
    assert (scales_D != scales_D.astype(jnp.bfloat16)).any()


def test_dropout_depends_on_the_step_and_the_seed_alone(tiny):
    batch = make_batch(0)

    def loss(state):
        return float(tiny.compiled(state, batch)[1]["loss"].total)

    later = dataclasses.replace(fresh(tiny), step=jnp.int32(1))
    assert loss(fresh(tiny)) == loss(fresh(tiny))
    assert loss(fresh(tiny)) != loss(later)


def test_clipping_scales_gradients_to_the_norm(tiny):
    """With plain gradient descent of rate 1 the parameters move by the gradient that the optimizer saw."""
    descent = Optimizer(
        init=lambda params: (),
        update=lambda grads, opt_state, params: (jax.tree.map(jnp.negative, grads), opt_state),
        state_axes=lambda opt_state: opt_state,
        learning_rate=lambda opt_state: jnp.float32(1.0),
    )
    start = TrainState(step=jnp.int32(0), params=tiny.start.params, opt_state=())
    moved, reported = {}, {}
    for limit in (1e-3, 1e6):
        step = jax.jit(make_train_step(tiny.model, descent, StepConfig(max_gradient_norm=limit), seed=0))
        end, metrics = step(start, make_batch(1))
        differences = jax.tree.map(
            lambda a, b: np.sum(np.square(np.float64(a) - b)), end.params, start.params
        )
        moved[limit] = sum(jax.tree.leaves(differences)) ** 0.5
        reported[limit] = float(metrics["grad_norm"])
    assert reported[1e-3] == reported[1e6]
    assert moved[1e6] == pytest.approx(reported[1e6], rel=1e-3)
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-2)


def poisoned(state):
    """The same state, with one infinite weight: loss and gradients become NaN."""
    params = jax.tree.map(jnp.copy, state.params)
    leaves, structure = jax.tree.flatten(params)
    leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(jnp.inf)
    return dataclasses.replace(state, params=jax.tree.unflatten(structure, leaves))


def test_a_nonfinite_update_is_skipped_and_counted(tiny):
    before = jax.device_get(poisoned(fresh(tiny)))
    after, metrics = tiny.compiled(poisoned(fresh(tiny)), make_batch(0))
    assert float(metrics["nonfinite"]) == 1.0
    assert int(after.step) == 1
    leaves_equal(after.params, before.params)
    leaves_equal(after.opt_state, before.opt_state)
    _, metrics = tiny.compiled(fresh(tiny), make_batch(0))
    assert float(metrics["nonfinite"]) == 0.0


def test_the_reported_rate_is_the_one_applied_after_a_skipped_update(tiny):
    """Under plain descent of gradients of ones, the parameters move by the rate: both say which it is."""
    ones = AdamWConfig(b1=0.0, b2=0.0).build(
        WarmupCosine(peak=1e-2, warmup_steps=4).build(8), tiny.model.logical_axes
    )
    step = jax.jit(make_train_step(tiny.model, ones, StepConfig(), seed=0))
    params = tiny.start.params
    state = TrainState(step=jnp.int32(0), params=params, opt_state=ones.init(params))
    state, skipped = step(poisoned(state), make_batch(0))
    state = dataclasses.replace(state, params=params)
    for rate in (2.5e-3, 5e-3):
        before = state.params
        state, metrics = step(state, make_batch(1))
        moves = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - b).max()), before, state.params)
        assert max(jax.tree.leaves(moves)) == pytest.approx(rate, rel=1e-3)
        assert float(metrics["learning_rate"]) == pytest.approx(rate)
    assert float(skipped["nonfinite"]) == 1.0
    assert int(state.step) == 3


def test_nonfinite_updates_pass_if_asked():
    parts = build(skip_nonfinite=False)
    after, metrics = parts.compiled(poisoned(fresh(parts)), make_batch(0))
    assert float(metrics["nonfinite"]) == 1.0
    assert sum(not bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(after.params)) > 1


def test_a_batch_without_weight_changes_no_loss_and_is_finite(tiny):
    batch = make_batch(0)
    batch["decoder_loss_weights"] *= 0
    _, metrics = tiny.compiled(fresh(tiny), batch)
    assert float(metrics["loss"].mean()) == 0.0
    assert float(metrics["nonfinite"]) == 0.0


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
def test_steps_learn_one_batch_by_heart(optimizer):
    parts = build(optimizer=optimizer, dropout_rate=0.0)
    state, batch = fresh(parts), make_batch(0)
    losses = []
    for _ in range(60):
        state, metrics = parts.compiled(state, batch)
        losses.append(float(metrics["loss"].mean()))
    assert losses[-1] < 0.6 * losses[0]


def test_eval_step_text_loss_leaves_out_eos_padding_and_sentinels(tiny):
    model, params, batch = tiny.model, tiny.start.params, make_batch(0)
    batch["decoder_target_tokens"] = np.array(
        [[5, 1, 0, 0, 0], [37, 6, 1, 0, 0], [37, 38, 1, 0, 0], [7, 8, 9, 35, 1]], np.int32
    )
    batch["decoder_loss_weights"] = (batch["decoder_target_tokens"] != 0).astype(np.float32)
    step = compile_eval_step(make_eval_step(model, sentinel_ids=np.arange(36, 40)), model, tiny.partitioner)
    result = step(params, batch)
    assert float(result["loss"].weight) == 13
    assert float(result["text_loss"].weight) == 6
    logits = np.asarray(jax.jit(lambda p, b: model.bind(p)(b))(params, batch), np.float64)
    nll = (
        np.log(np.exp(logits).sum(-1))
        - np.take_along_axis(logits, batch["decoder_target_tokens"][..., None], -1)[..., 0]
    )
    is_text = np.isin(batch["decoder_target_tokens"], [5, 6, 7, 8, 9, 35])
    np.testing.assert_allclose(float(result["text_loss"].total), nll[is_text].sum(), rtol=1e-5)
    assert VOCAB_SIZE > 38


@pytest.mark.parametrize("step", ["train", "eval"])
def test_a_step_is_compiled_with_the_partitioners_options(tiny, step):
    """Whoever compiles it, the loop or the planner: an option that no compiler knows is seen by both."""
    partitioner = dataclasses.replace(tiny.partitioner, compiler_options=(("xla_nope", "true"),))
    nothing = {"train": lambda state, _: (state, {}), "eval": lambda _, batch: {}}[step]
    if step == "train":
        jitted = compile_train_step(nothing, tiny.model, tiny.optimizer, partitioner)
        lowered = jitted.lower(abstract_state(tiny.model, tiny.optimizer, partitioner), {})
    else:
        lowered = compile_eval_step(nothing, tiny.model, partitioner).lower(tiny.model.abstract_params, {})
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_nope'"):
        lowered.compile()


def test_state_axes_cover_every_array(tiny):
    abstract = abstract_state(tiny.model, tiny.optimizer)
    axes = state_axes(tiny.model, tiny.optimizer)
    tiny.partitioner.tree_shardings(axes, abstract)  # as many axes as dimensions
    state = fresh(tiny)
    described = jax.tree.map(lambda x: (x.shape, str(x.dtype)), state)
    assert described == jax.tree.map(lambda x: (x.shape, str(x.dtype)), abstract)
    assert state.step.dtype == jnp.int32


def test_state_from_params_keeps_them_and_starts_anew(tiny):
    params = jax.tree.map(lambda x: np.asarray(x) + 1, fresh(tiny).params)
    state = state_from_params(params, tiny.model, tiny.optimizer, tiny.partitioner)
    leaves_equal(state.params, params)
    assert int(state.step) == 0


@pytest.mark.parametrize(("batch_size", "nearest"), [(24, "use 16 or 32"), (3, "use 16,"), (0, "use 16,")])
def test_a_batch_that_the_mesh_and_microbatches_do_not_divide_is_refused(batch_size, nearest):
    partitioner = abstract_partitioner(PartitioningConfig(replica=2, fsdp=4, tensor=1), 8)
    check_batch_size(32, 2, partitioner)
    with pytest.raises(ConfigError, match=f"batch_size={batch_size} .*replica=2 x fsdp=4.* = 16; {nearest}"):
        check_batch_size(batch_size, 2, partitioner)


@pytest.mark.parametrize(
    "wrong", [{"num_microbatches": 0}, {"z_loss": -1.0}, {"label_smoothing": 1.0}, {"max_gradient_norm": 0.0}]
)
def test_wrong_step_configuration_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        StepConfig(**wrong)
