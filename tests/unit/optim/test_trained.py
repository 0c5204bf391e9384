"""Which parameters patterns mean, and that what is frozen is not there for an optimizer, whichever it is."""

import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.optim import OPTIMIZERS, AdamWConfig, Constant
from t5lite.optim.trained import (
    check_layer_decay,
    check_patterns,
    merged,
    parameter_paths,
    resolve_trained,
)
from t5lite.partitioning.rules import is_logical_axes

AXES = {
    "table": {"embedding": ("vocab", "embed")},
    "encoder": {
        "layers": {"query": ("layers", "embed", "heads"), "norm": {"scale": ("layers", "embed")}},
        "final_norm": {"scale": ("embed",)},
    },
    "decoder": {
        "layers": {"query": ("layers", "embed", "heads"), "wi": ("layers", "embed", "mlp")},
        "final_norm": {"scale": ("embed",)},
    },
}
SIZES = {"vocab": 12, "embed": 8, "heads": 8, "layers": 2, "mlp": 16}
PATHS = parameter_paths(AXES)
DECODER = {"decoder/final_norm/scale", "decoder/layers/query", "decoder/layers/wi"}
CHOICES = {
    "a group": (("decoder",), DECODER),
    "a glob": (("decoder/*",), DECODER),
    "a group anywhere": (("*/final_norm",), {"decoder/final_norm/scale", "encoder/final_norm/scale"}),
    "a whole path": (("table/embedding",), {"table/embedding"}),
    "all but": (("!encoder", "!table"), DECODER),
    "some but": (("decoder", "!*/scale"), {"decoder/layers/query", "decoder/layers/wi"}),
    "stack matrices": (("*/query",), {"encoder/layers/query", "decoder/layers/query"}),
    "everything": (("*",), set(PATHS)),
}


def random_tree(seed, axes=AXES):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda names: rng.standard_normal([SIZES[name] for name in names]).astype(np.float32),
        axes,
        is_leaf=is_logical_axes,
    )


def by_path(tree):
    return dict(zip(parameter_paths(tree), jax.tree.leaves(tree), strict=True))


def build(kind, trainable=None, factors=(), rate=0.05, **options):
    trained = resolve_trained(trainable, factors, AXES)
    schedule = Constant(value=rate).build(100)
    return trained.optimizer(lambda axes, rates: kind(**options).build(schedule, axes, rates), AXES)


def run(optimizer, num_steps=2):
    params, update = random_tree(0), jax.jit(optimizer.update)
    state = jax.jit(optimizer.init)(params)
    for step in range(num_steps):
        updates, state = update(optimizer.trained(random_tree(step + 1)), state, params)
        params = merged(params, optax.apply_updates(optimizer.trained(params), updates))
    return params, state


@pytest.fixture(params=sorted(OPTIMIZERS), scope="module")
def kind(request):
    return OPTIMIZERS[request.param]


@pytest.fixture(scope="module")
def all_trained(kind):
    return by_path(run(build(kind, weight_decay=0.01))[0])


@pytest.mark.parametrize(("trainable", "paths"), CHOICES.values(), ids=CHOICES)
def test_patterns_name_groups_and_parameters(trainable, paths):
    trained = resolve_trained(trainable, (), AXES)
    assert trained.rate_factors.keys() == paths
    assert trained.frozen == set(PATHS) - paths
    assert set(parameter_paths(trained.part(AXES))) == paths


@given(st.sets(st.sampled_from(PATHS), min_size=1))
def test_a_part_put_back_is_the_tree(paths):
    trained, tree = resolve_trained(tuple(paths), (), AXES), random_tree(0)
    part = trained.part(tree)
    assert set(parameter_paths(part)) == paths
    assert by_path(merged(tree, part)) == by_path(tree)
    changed = by_path(merged(tree, jax.tree.map(lambda x: x + 1, part)))
    for path, leaf in by_path(tree).items():
        assert (changed[path] is leaf) == (path not in paths)


@pytest.mark.parametrize("choice", ["some but", "stack matrices", "a whole path"])
def test_what_is_frozen_has_no_state_and_the_rest_learns_as_if_all_were_trained(kind, all_trained, choice):
    """Every optimizer here treats parameters one by one, so that freezing some changes no other."""
    trainable, paths = CHOICES[choice]
    optimizer = build(kind, trainable, weight_decay=0.01)
    params, state = run(optimizer)
    got, start = by_path(params), by_path(random_tree(0))
    for path in PATHS:
        if path in paths:
            np.testing.assert_allclose(got[path], all_trained[path], rtol=1e-5, atol=1e-6, err_msg=path)
        else:
            np.testing.assert_array_equal(got[path], start[path], err_msg=path)
    alone = kind().build(Constant().build(1), optimizer.trained(AXES))
    assert jax.tree.structure(state) == jax.tree.structure(alone.init(optimizer.trained(random_tree(0))))
    axes = optimizer.state_axes(jax.eval_shape(optimizer.init, random_tree(0)))
    assert jax.tree.structure(axes, is_leaf=is_logical_axes) == jax.tree.structure(state)


def test_a_factor_multiplies_the_learning_rate_and_nothing_else(kind):
    """Not Adafactor's weight decay, which knows none: each group learns as in a run at its own rate."""
    options = {"weight_decay": 0.01}
    factors = (("encoder/final_norm", 0.25), ("encoder", 0.5), ("*/query", 4.0))
    got = by_path(run(build(kind, factors=factors, **options), num_steps=1)[0])
    for factor, paths in {
        0.25: {"encoder/final_norm/scale"},
        0.5: {"encoder/layers/query", "encoder/layers/norm/scale"},
        4.0: {"decoder/layers/query"},
        1.0: {"table/embedding", "decoder/layers/wi", "decoder/final_norm/scale"},
    }.items():
        want = by_path(run(build(kind, rate=0.05 * factor, **options), num_steps=1)[0])
        for path in paths:
            np.testing.assert_allclose(got[path], want[path], rtol=1e-6, atol=1e-7, err_msg=path)


def test_adamw_of_groups_equals_optax_with_masks_and_labels():
    """Three groups over several steps: frozen, at a tenth of the rate, and at the rate."""
    params = random_tree(0)
    labels = jax.tree.map(lambda _: "usual", params)
    labels["encoder"] = jax.tree.map(lambda _: "slow", labels["encoder"])
    labels["table"] = jax.tree.map(lambda _: "frozen", labels["table"])
    reference = optax.multi_transform(
        {"usual": optax.adamw(0.05, weight_decay=0), "slow": optax.adamw(0.005, weight_decay=0),
         "frozen": optax.set_to_zero()},
        labels,
    )  # fmt: skip
    state = reference.init(params)
    for step in range(4):
        updates, state = reference.update(random_tree(step + 1), state, params)
        params = optax.apply_updates(params, updates)
    got, _ = run(build(AdamWConfig, ("!table",), (("encoder", 0.1),)), num_steps=4)
    for path, want in by_path(params).items():
        np.testing.assert_allclose(by_path(got)[path], want, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize(
    ("trainable", "factors", "message"),
    [
        (("decodr/*",), (), r"'decodr/\*' matches none of the 7 arrays; near: decoder\b.*groups: dec"),
        (("decoder.layers.wi",), (), r"near: decoder/layers/wi"),
        (("decoder", "!logits"), (), r"'!logits' matches none"),
        (("encoder", "!encoder"), (), r"leaves nothing to train of 7 arrays"),
        (("!*",), (), r"leaves nothing to train"),
        (None, (("logits", 0.1),), r"'logits' matches nothing"),
        (("decoder",), (("encoder", 0.1),), r"'encoder' matches nothing that is trained"),
        (None, (("encoder", 0.1), ("encoder/layers", 0.2)), r"'encoder/layers' .* no earlier"),
    ],
)  # fmt: skip
def test_a_pattern_that_does_nothing_is_refused(trainable, factors, message):
    check_patterns(trainable, factors)
    with pytest.raises(ConfigError, match=message):
        resolve_trained(trainable, factors, AXES)


@pytest.mark.parametrize(
    ("trainable", "factors", "message"),
    [
        ((), (), r"trainable=\(\) trains nothing"),
        (("",), (), r"'' is no pattern"),
        (("decoder", "!"), (), r"'!' is no pattern"),
        (("decoder", "decoder"), (), r"'decoder' twice"),
        ("decoder", (), r"must be a tuple of patterns: \('decoder',\)"),
        (None, (("encoder", 0.0),), r"0.0 of 'encoder' must be .* give trainable '!encoder'"),
        (None, (("encoder", -1.0),), r"above 0"),
        (None, (("encoder", float("nan")),), r"finite"),
        (None, (("encoder", float("inf")),), r"finite"),
        (None, (("encoder", 0.1), ("encoder", 0.2)), r"'encoder' twice"),
        (None, ("encoder", 0.1), r"must be a tuple of pairs"),
        (None, {"encoder": 0.1}, r"must be a tuple of pairs"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_or_factor_is_refused_without_a_model(trainable, factors, message):
    with pytest.raises(ConfigError, match=message):
        check_patterns(trainable, factors)


def unstacked(tree):
    """Return a tree like the parameters with every layer of a stack as a group of its own."""
    layers = {f"layer_{n}": jax.tree.map(lambda x, n=n: x[n], tree["layers"]) for n in range(SIZES["layers"])}
    return {**layers, **{name: value for name, value in tree.items() if name != "layers"}}


def learnt(kind, trained, axes, trees):
    """Return the first of the trees, the parameters, after updates by the others, the gradients."""
    schedule = Constant(value=0.05).build(100)
    optimizer = trained.optimizer(
        lambda names, rates: kind(weight_decay=0.01).build(schedule, names, rates), axes
    )
    params, *gradients = trees
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for each in gradients:
        updates, state = update(each, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_layerwise_decay_of_stacked_layers_is_that_of_layers_of_their_own(kind):
    """As by hand-written factors, for several steps and with weight decay."""
    one = {"query": ("embed", "heads"), "scale": ("embed",)}
    stacked = {
        "layers": {name: ("layers", *axes) for name, axes in one.items()},
        "norm": ("embed",),
    }
    alone = {"layer_0": one, "layer_1": one, "norm": ("embed",)}
    trees = [random_tree(seed, stacked) for seed in range(4)]
    distances = {"layers/query": (2, 1), "layers/scale": (2, 1), "norm": (0,)}
    decayed = resolve_trained(None, (("*/scale", 3.0),), stacked).decayed(0.7, distances)
    factors = (
        ("layer_0/scale", 3 * 0.7**2),
        ("layer_0", 0.7**2),
        ("layer_1/scale", 3 * 0.7),
        ("layer_1", 0.7),
    )
    by_hand = resolve_trained(None, factors, alone)
    got = by_path(unstacked(learnt(kind, decayed, stacked, trees)))
    want = by_path(learnt(kind, by_hand, alone, [unstacked(tree) for tree in trees]))
    assert got.keys() == want.keys()
    for path, value in want.items():
        np.testing.assert_allclose(got[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.01, float("nan"), float("inf")])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ConfigError, match=r"layerwise_learning_rate_decay=.* must be above 0 and at most 1"):
        check_layer_decay(decay)
