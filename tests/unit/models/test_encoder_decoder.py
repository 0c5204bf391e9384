from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import make_batch, make_config, make_loss, make_params

from t5lite.models.config import REMAT_NAMES, Execution
from t5lite.models.functional import build
from t5lite.models.layers import gathered_kernels
from t5lite.partitioning import PartitioningConfig, abstract_partitioner

KEY = jax.random.key(3)


def assert_trees_close(got, expected, *, rtol):
    """Compare leaf by leaf, relative to the largest entry of the leaf."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        other = dict(jax.tree_util.tree_leaves_with_path(got))[path]
        assert np.abs(leaf).max() > 0, path
        np.testing.assert_allclose(other, leaf, atol=rtol * float(np.abs(leaf).max()), err_msg=str(path))


@pytest.fixture(scope="module")
def reference():
    """Loss and gradients of the scanned model without rematerialisation, dropout on."""
    config = make_config(dropout_rate=0.1)
    model = build(config)
    params = make_params(model)
    return config, params, jax.value_and_grad(make_loss(model))(params, make_batch(), KEY)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"scan_unroll": 2, "remat": "full"},
        {"scan_unroll": -1, "remat": "dots"},
        {"remat": "save", "remat_names": ("context", "mlp_wi")},
        {"remat": "offload", "remat_names": ("layer_input", "query")},
    ],
    ids=str,
)
def test_unrolling_and_rematerialisation_change_nothing(reference, changes):
    config, params, (expected_loss, expected_gradients) = reference
    model = build(config, Execution(**changes))
    loss, gradients = jax.value_and_grad(make_loss(model))(params, make_batch(), KEY)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6, atol=1e-6)
    assert_trees_close(gradients, expected_gradients, rtol=1e-5)


@pytest.mark.parametrize("name", sorted({*REMAT_NAMES} - {"kernels"}))
def test_every_name_of_a_remat_policy_is_kept(name):
    """A name that no array of a layer bears would make a policy that does nothing."""

    def kept_bytes(**changes):
        model = build(make_config(), Execution(**changes))
        loss = make_loss(model)
        backward = jax.eval_shape(lambda p: jax.vjp(loss, p, make_batch())[1], model.abstract_params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

    full, saved = kept_bytes(remat="full"), kept_bytes(remat="save", remat_names=(name,))
    # The input is the carry of the loop over layers, which every policy keeps.
    assert saved == full if name == "layer_input" else saved > full


SINGLY = {
    **{(2, 16, 12): 3, (2, 12, 16): 1, (2, 16, 24): 2, (2, 24, 16): 1},
    **{(3, 1, 16, 12): 6, (3, 1, 12, 16): 2, (3, 1, 16, 24): 2, (3, 1, 24, 16): 1},
}
JOINED = {(2, 16, 120): 1, (3, 1, 16, 168): 1}


@pytest.mark.parametrize(
    ("platform", "partitioning", "expected"),
    [
        ("tpu", PartitioningConfig(style="fsdp", fsdp=8), JOINED),
        # 16 rows are not shared out over 3 devices, but 12 and 24 columns are.
        ("tpu", PartitioningConfig(style="fsdp", fsdp=3), SINGLY),
        ("gpu", PartitioningConfig(style="fsdp", fsdp=8), SINGLY),
        ("tpu", PartitioningConfig(style="sequence_parallel", fsdp=2, sequence=2, tensor=2), SINGLY),
        ("tpu", PartitioningConfig(style="tensor_parallel", fsdp=1, tensor=8), {}),
        ("tpu", PartitioningConfig(style="data_parallel", fsdp=8), {}),
    ],
    ids=["fsdp", "fsdp_3", "fsdp_gpu", "sequence_parallel", "tensor_parallel", "data_parallel"],
)
@pytest.mark.parametrize(
    "changes", [{"remat": "gathered"}, {"remat": "save", "remat_names": ("kernels",)}], ids=str
)
def test_kernels_are_kept_as_they_were_gathered_where_a_mesh_divides_them(
    monkeypatch, changes, platform, partitioning, expected
):
    """In the compute dtype, a TPU's small ones as one array; a copy of what is here would not pay."""
    monkeypatch.setattr(gathered_kernels, "target_platform", lambda: platform)
    model = build(make_config(), Execution(compute_dtype="bfloat16", **changes))
    batch = make_batch(rows=48, encoder_length=10, decoder_length=14)
    num_devices = partitioning.fsdp * partitioning.sequence * partitioning.tensor
    with abstract_partitioner(partitioning, num_devices).activate():
        loss = make_loss(model)
        backward = jax.eval_shape(lambda p: jax.vjp(loss, p, batch)[1], model.abstract_params)
    kept = Counter(leaf.shape for leaf in jax.tree.leaves(backward) if leaf.dtype == jnp.bfloat16)
    assert {shape: kept[shape] for shape in kept if 48 not in shape and len(shape) > 2} == expected


def test_rematerialisation_saves_memory():
    def temporary_bytes(remat):
        model = build(make_config(num_encoder_layers=6), Execution(remat=remat))
        batch = make_batch(rows=4, encoder_length=48)
        lowered = jax.jit(jax.grad(make_loss(model))).lower(model.abstract_params, batch)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes("full") < 0.5 * temporary_bytes("none")


def test_every_parameter_is_used(reference):
    _, _, (_, gradients) = reference
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        per_layer = leaf.reshape(leaf.shape[0], -1) if "layers" in str(path) else leaf.reshape(1, -1)
        assert (np.abs(per_layer).max(axis=1) > 0).all(), path


def test_decoder_is_causal_and_sees_the_whole_encoder_output(model, params):
    bound = model.bind(params)
    rng = np.random.default_rng(0)
    x_LD, encoded_MD = (jnp.asarray(rng.standard_normal((n, 16)), jnp.float32) for n in (5, 4))
    direction_D = jnp.asarray(rng.standard_normal(16), jnp.float32)

    def outputs_L(x_LD, encoded_MD):
        y_BLD = bound.decoder(x_LD[None], encoded_BMD=encoded_MD[None])
        return y_BLD[0] @ direction_D

    by_x, by_encoded = jax.jit(jax.jacrev(outputs_L, argnums=(0, 1)))(x_LD, encoded_MD)
    depends = np.abs(by_x).max(-1) > 0
    np.testing.assert_array_equal(depends, np.tril(np.ones((5, 5), bool)))
    assert (np.abs(by_encoded).max(-1) > 0).all()


def test_a_packed_row_equals_its_parts_alone(model, params):
    """The parts have other lengths, so packed offsets differ: relative positions must not notice."""
    first, second = (
        make_batch(rows=1, encoder_length=3, decoder_length=4, seed=1),
        make_batch(rows=1, encoder_length=5, decoder_length=2, seed=2),
    )

    def packed(name, lengths, pad_to):
        tokens = np.zeros((1, pad_to), np.int32)
        ids = np.zeros((1, pad_to), np.int32)
        tokens[0, : sum(lengths)] = np.concatenate([first[name][0], second[name][0]])
        ids[0, : sum(lengths)] = np.repeat([1, 2], lengths)
        return jnp.asarray(tokens), jnp.asarray(ids)

    encoder_tokens, encoder_ids = packed("encoder_input_tokens", (3, 5), 10)
    decoder_tokens, decoder_ids = packed("decoder_input_tokens", (4, 2), 7)
    forward = jax.jit(lambda params, batch: model.bind(params)(batch))
    logits = forward(
        params,
        {
            "encoder_input_tokens": encoder_tokens,
            "decoder_input_tokens": decoder_tokens,
            "encoder_segment_ids": encoder_ids,
            "decoder_segment_ids": decoder_ids,
        },
    )
    np.testing.assert_allclose(logits[0, :4], forward(params, first)[0], atol=2e-5)
    np.testing.assert_allclose(logits[0, 4:6], forward(params, second)[0], atol=2e-5)
    assert np.isfinite(logits).all()


def test_padding_changes_nothing(model, params):
    """Neither its amount nor the ids that stand in it, in either stack; gradients included."""
    batch = make_batch()
    loss = jax.jit(jax.value_and_grad(lambda p, b: jnp.mean(jnp.sin(3 * model.bind(p)(b)[:, :5])), argnums=0))
    expected, expected_gradients = loss(params, batch)
    pad = {"encoder": 4, "decoder": 3}
    padded = {}
    for side, amount in pad.items():
        tokens = batch[f"{side}_input_tokens"]
        padded[f"{side}_input_tokens"] = jnp.pad(tokens, ((0, 0), (0, amount)), constant_values=17)
        padded[f"{side}_segment_ids"] = jnp.pad(jnp.ones_like(tokens), ((0, 0), (0, amount)))
    got, gradients = loss(params, padded)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert_trees_close(gradients, expected_gradients, rtol=1e-4)


def test_gradients_are_finite_when_rows_are_all_padding(model, params):
    batch = make_batch()
    ids = {"encoder_segment_ids": jnp.zeros((2, 7), jnp.int32), "decoder_segment_ids": jnp.zeros((2, 5), int)}
    loss, gradients = jax.value_and_grad(make_loss(model))(params, {**batch, **ids})
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_bfloat16_compute_stays_near_float32(params):
    """Bound: 5 % of the logits' standard deviation, root mean square (8 mantissa bits, 5 layers)."""
    batch = make_batch(rows=4)
    exact = build(make_config()).bind(params)(batch)
    logits = build(make_config(), Execution(compute_dtype="bfloat16")).bind(params)(batch)
    assert logits.dtype == jnp.float32
    error = float(jnp.sqrt(jnp.mean((logits - exact) ** 2)) / jnp.std(exact))
    assert 1e-4 < error < 0.05


def test_an_id_beyond_the_table_is_loud(model, params):
    batch = make_batch()
    batch["encoder_input_tokens"] = batch["encoder_input_tokens"].at[0, 0].set(40)
    logits = model.bind(params)(batch)
    assert np.isnan(logits[0]).all()
    assert np.isfinite(logits[1]).all()
