import jax
import numpy as np
import pytest
from tiny_models import make_config

from t5lite.models.config import Execution, PlainMLP, RelativePositions
from t5lite.models.functional import build


def leaves(tree, **kwargs):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, **kwargs)
    }


@pytest.mark.parametrize(
    ("changes", "param_dtype"),
    [({}, "float32"), ({"mlp": PlainMLP(), "tie_embeddings": True}, "float32"), ({}, "bfloat16")],
    ids=str,
)
def test_init_gives_what_the_abstract_build_said(changes, param_dtype):
    model = build(make_config(**changes), Execution(param_dtype=param_dtype))
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.structure(params) == jax.tree.structure(model.abstract_params)
    for name, leaf in leaves(params).items():
        abstract = leaves(model.abstract_params)[name]
        assert (leaf.shape, leaf.dtype) == (abstract.shape, abstract.dtype), name
        axes = leaves(model.logical_axes, is_leaf=lambda x: isinstance(x, tuple))[name]
        assert len(axes) == leaf.ndim, name
        assert (axes[0] == "layers") == ("/layers/" in name), name
    assert model.num_params == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_axes_name_the_sizes_they_stand_for():
    config = make_config()
    model = build(config)
    size = {
        "vocab": config.vocab_size,
        "embed": config.embed_dim,
        "mlp": config.mlp_dim,
        "relpos_buckets": config.positions.num_buckets,
    }
    for name, axes in leaves(model.logical_axes, is_leaf=lambda x: isinstance(x, tuple)).items():
        size["heads"] = config.num_heads * (config.head_dim if "attention" in name else 1)
        layers = config.num_encoder_layers if name.startswith("encoder") else config.num_decoder_layers
        expected = tuple({**size, "layers": layers}[axis] for axis in axes)
        assert leaves(model.abstract_params)[name].shape == expected, name


def test_tied_embedding_is_held_once():
    config = make_config(mlp=PlainMLP(), tie_embeddings=True)
    with_vocab_axis = [
        name
        for name, axes in leaves(build(config).logical_axes, is_leaf=lambda x: isinstance(x, tuple)).items()
        if "vocab" in axes
    ]
    assert with_vocab_axis == ["token_embedder/embedding"]


@pytest.fixture(scope="module")
def init():
    """``init`` of a model whose initial values are many enough for statistics; compiled once."""
    config = make_config(
        embed_dim=96, mlp_dim=80, head_dim=16, num_heads=5, vocab_size=300, positions=RelativePositions()
    )
    return jax.jit(build(config).init)


def test_initial_values_follow_t5x(init):
    params = leaves(init(jax.random.key(0)))
    d, heads, kv = 96, 5, 16
    expected_std = {
        "token_embedder/embedding": 1.0,
        "logits/kernel": d**-0.5,
        "encoder/relpos_bias/embedding": (2 / (32 + heads)) ** 0.5,
        "encoder/layers/self_attention/query": (d * kv) ** -0.5,
        "decoder/layers/self_attention/key": d**-0.5,
        "decoder/layers/cross_attention/value": d**-0.5,
        "decoder/layers/cross_attention/out": (heads * kv) ** -0.5,
        "encoder/layers/mlp/wi_0": d**-0.5,
        "decoder/layers/mlp/wo": 80**-0.5,
    }
    for name, std in expected_std.items():
        np.testing.assert_allclose(np.std(params[name]), std, rtol=0.12, err_msg=name)
        assert abs(np.mean(params[name])) < 4 * std / params[name].size ** 0.5, name
    for name, leaf in params.items():
        assert name.endswith("scale") == bool((leaf == 1).all()), name
    query = params["encoder/layers/self_attention/query"]
    assert (query[0] != query[1]).any()  # layers start differently


def test_init_depends_on_the_key_alone(init):
    first, again, other = (init(jax.random.key(seed)) for seed in (5, 5, 6))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), first, again))
    assert (first["logits"]["kernel"] != other["logits"]["kernel"]).any()


def test_compile_size_does_not_grow_with_depth():
    def lines(num_layers):
        model = build(make_config(num_encoder_layers=num_layers, num_decoder_layers=num_layers))
        tokens = jax.ShapeDtypeStruct((1, 4), "int32")
        batch = {"encoder_input_tokens": tokens, "decoder_input_tokens": tokens}
        lowered = jax.jit(lambda p, b: model.bind(p)(b)).lower(model.abstract_params, batch)
        return lowered.as_text().count("\n")

    assert lines(9) == lines(2)
