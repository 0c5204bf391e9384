"""Every kind of parameter of every family: what is a matrix, what is decayed, what Muon turns."""

import math

import jax
import jax.numpy as jnp
import pytest

from t5lite.models.functional import build
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant, MuonConfig
from t5lite.optim.base import matrix_dims
from t5lite.partitioning.rules import is_logical_axes
from tests.families import FAMILIES

NO_MATRIX = ("bias", "scale", "relpos_bias/embedding")
"""Endings of names; a table of T5's relative biases is none either."""
NOT_MUONS = ("_embedder/embedding", "positions/embedding", "token_types", "logits/kernel")
RATE = Constant(value=0.5).build(10)


@pytest.fixture(scope="module", params=FAMILIES)
def parameters(request):
    """``name -> (axes, shape)`` of a family's parameters, and the model."""
    model = build(FAMILIES[request.param])
    leaves = jax.tree_util.tree_leaves_with_path(model.abstract_params)
    axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    shapes = [leaf.shape for _, leaf in leaves]
    return model, dict(zip(names, zip(axes, shapes, strict=True), strict=True))


def test_kernels_and_tables_are_matrices_and_nothing_else_is(parameters):
    _, kinds = parameters
    for name, (axes, shape) in kinds.items():
        dims = matrix_dims(axes)
        assert (dims is None) == name.endswith(NO_MATRIX), name
        if dims is not None:
            layers = shape[0] if "layers" in axes else 1
            assert layers * shape[dims.row] * shape[dims.column] == math.prod(shape), name


def test_weight_decay_is_for_matrices(parameters):
    model, kinds = parameters
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), model.abstract_params)
    grads = jax.tree.map(jnp.zeros_like, params)
    optimizer = AdamWConfig(weight_decay=0.1).build(RATE, model.logical_axes)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for name, update in zip(kinds, jax.tree.leaves(updates), strict=True):
        expected = 0.0 if name.endswith(NO_MATRIX) else -0.05
        assert float(jnp.max(jnp.abs(update - expected))) < 1e-7, name


def test_muon_turns_the_matrices_inside_the_network(parameters):
    model, kinds = parameters
    abstract = jax.eval_shape(MuonConfig().build(RATE, model.logical_axes).init, model.abstract_params)
    turned = set(abstract.muon.mu)
    expected = {name for name in kinds if not name.endswith(NO_MATRIX) and not name.endswith(NOT_MUONS)} - {
        name for name in kinds if "next_sentence" in name
    }
    assert turned == {name for name in expected if not name.startswith("token_types")}


def test_adafactor_factors_matrices_whatever_their_axes(parameters):
    model, kinds = parameters
    optimizer = AdafactorConfig(min_dim_size_to_factor=1).build(RATE, model.logical_axes)
    moments = jax.eval_shape(optimizer.init, model.abstract_params).moments
    structure = jax.tree.structure(model.abstract_params)
    for name, moment in zip(kinds, structure.flatten_up_to(moments), strict=True):
        assert ("full" in moment) == name.endswith(NO_MATRIX), name
