"""The training step of a model that is frozen in part: the encoder and the table, at the bottom."""

import collections
import dataclasses
import math
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tiny_training import fresh, make_batch

from t5lite.optim import AdafactorConfig, Constant
from t5lite.optim.base import global_norm
from t5lite.optim.trained import parameter_paths, resolve_trained
from t5lite.training.config import StepConfig
from t5lite.training.state import abstract_state, state_from_params
from t5lite.training.step import compile_train_step, make_train_step

FROZEN = ("token_embedder", "encoder")


def by_path(tree):
    return dict(zip(parameter_paths(tree), map(np.asarray, jax.tree.leaves(tree)), strict=True))


def size(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def partly(tiny):
    """The step of ``tiny``, compiled with the encoder and the table frozen."""
    model, partitioner = tiny.model, tiny.partitioner
    trained = resolve_trained(tuple(f"!{group}" for group in FROZEN), (), model.abstract_params)
    schedule = Constant(value=1e-2).build(1000)
    optimizer = trained.optimizer(
        lambda axes, factors: AdafactorConfig().build(schedule, axes, factors), model.logical_axes
    )

    step = make_train_step(model, optimizer, StepConfig(), seed=3)
    jitted = compile_train_step(step, model, optimizer, partitioner)
    return SimpleNamespace(
        optimizer=optimizer,
        compiled=jitted.lower(abstract_state(model, optimizer, partitioner), make_batch(0)).compile(),
        start=lambda: state_from_params(fresh(tiny).params, model, optimizer, partitioner),
    )


def test_frozen_parameters_stay_to_the_bit_and_the_others_learn_as_if_all_were_trained(tiny, partly):
    before, batch = by_path(fresh(tiny).params), make_batch(0)
    state, metrics = partly.compiled(partly.start(), batch)
    all_trained, of_all = tiny.compiled(fresh(tiny), batch)
    got, want = by_path(state.params), by_path(all_trained.params)
    assert got.keys() == before.keys()
    for path, value in got.items():
        assert (want[path] != before[path]).any()
        if path.startswith(FROZEN):
            np.testing.assert_array_equal(value, before[path], err_msg=path)
        else:
            np.testing.assert_allclose(value, want[path], rtol=1e-5, atol=1e-6, err_msg=path)
    np.testing.assert_allclose(metrics["loss"].total, of_all["loss"].total, rtol=1e-6)
    norm = global_norm(partly.optimizer.trained(fresh(tiny).params))
    np.testing.assert_allclose(metrics["param_norm"], norm, rtol=1e-6)
    assert metrics["grad_norm"] < of_all["grad_norm"]


def test_a_step_that_is_not_finite_changes_nothing(partly):
    batch = make_batch(0)
    batch["decoder_loss_weights"][batch["decoder_loss_weights"] > 0] = np.inf
    begin = jax.device_get(partly.start())
    state, metrics = partly.compiled(partly.start(), batch)
    assert metrics["nonfinite"] == 1
    jax.tree.map(np.testing.assert_array_equal, state, dataclasses.replace(begin, step=np.int32(1)))


def test_what_is_frozen_costs_no_state_no_gradient_and_no_backward_pass(tiny, partly):
    state, everything = partly.start(), fresh(tiny)
    frozen = size(state.params) - size(partly.optimizer.trained(state.params))
    assert size(everything.opt_state) - size(state.opt_state) == frozen > 0
    # Of a product's three parts (forward, of its inputs, of its kernel) the encoder has the first alone.
    flops = partly.compiled.cost_analysis()["flops"]
    assert flops < 0.85 * tiny.compiled.lower(everything, make_batch(0)).compile().cost_analysis()["flops"]


def test_microbatches_add_up_the_gradients_of_what_is_trained_alone(tiny, partly):
    def added_up(optimizer):
        step = make_train_step(tiny.model, optimizer, StepConfig(num_microbatches=2), seed=3)
        jaxpr = jax.make_jaxpr(step)(abstract_state(tiny.model, optimizer), make_batch(0)).jaxpr
        (scan,) = (eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan")
        return collections.Counter(v.aval.shape for v in scan.outvars if v.aval.ndim)

    def shapes(params):
        return collections.Counter(leaf.shape for leaf in jax.tree.leaves(params))

    params = tiny.model.abstract_params
    assert added_up(tiny.optimizer) == shapes(params)
    assert added_up(partly.optimizer) == shapes(partly.optimizer.trained(params))
