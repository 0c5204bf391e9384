"""Who computes attention, and that every backend in its place gives the reference's results."""

import functools
import logging
from dataclasses import replace

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from architectures import (
    POSITIONS,
    assert_trees_close,
    make_config,
    make_forward,
    make_rows,
    tiny_from_config,
)
from jax.sharding import AbstractMesh

from t5lite.models.config import EncoderDecoderConfig, Execution, RelativePositions
from t5lite.models.functional import build
from t5lite.models.kernels import choice, sharded
from t5lite.models.kernels.attention import attention, drop_keys
from t5lite.models.kernels.choice import choose_backend
from t5lite.models.kernels.cudnn_attention import cudnn_attention
from t5lite.models.kernels.shapes import AttentionShape
from t5lite.models.kernels.table import KERNELS
from t5lite.models.layers import stack
from t5lite.models.layers.attention_ops import AttentionMask, dot_product_attention
from t5lite.models.layers.position import RelativeBias
from t5lite.partitioning import PartitioningConfig
from t5lite.partitioning.rules import Partitioner, abstract_partitioner, target_platform

LARGE = AttentionShape(
    batch=8,
    query_length=4096,
    key_length=4096,
    num_heads=16,
    kv_heads=16,
    head_dim=64,
    dtype="bfloat16",
    cached=False,
)


@pytest.fixture
def on_platform(monkeypatch):
    def use(platform):
        monkeypatch.setattr(jax, "default_backend", lambda: platform)

    choice.backend_on.cache_clear()
    choice._tell.cache_clear()
    return use


@pytest.mark.parametrize(
    ("platform", "wanted", "backend"),
    [
        ("cpu", "auto", "reference"),
        ("cpu", "flash", "reference"),
        ("tpu", "auto", "flash"),
        ("tpu", "flash", "flash"),
        ("tpu", "cudnn", "reference"),
        ("tpu", "reference", "reference"),
        ("gpu", "auto", "cudnn"),
        ("gpu", "flash", "reference"),
        ("rocm", "auto", "reference"),
    ],
)
def test_the_platform_chooses_and_the_wish_overrides(on_platform, platform, wanted, backend):
    on_platform(platform)
    assert choose_backend(wanted, LARGE) == backend


@pytest.mark.parametrize(
    ("platform", "changes", "reason"),
    [
        ("tpu", {"cached": True}, "a step of decoding has one query"),
        ("tpu", {"merged": True}, "merged attention has keys of two stacks in one softmax"),
        ("gpu", {"merged": True}, "merged attention has keys of two stacks in one softmax"),
        ("tpu", {"query_length": 2**13, "window": (64, 64)}, "its window is over keys that end before"),
        ("tpu", {"kv_heads": 1, "query_length": 2**15, "key_length": 2**15}, "of 32768 queries do not fit"),
        ("tpu", {"num_heads": 32, "kv_heads": 32, "head_dim": 80}, "32 heads of 80 columns fit no block"),
        ("tpu", {"query_length": 2**18}, "the gradients of 262144 queries do not fit on the chip"),
        ("tpu", {"query_length": 100, "key_length": 114}, "so few logits are no burden"),
        ("gpu", {"dtype": "float32"}, "cuDNN takes bfloat16, not compute_dtype='float32'"),
        ("gpu", {"softcap": 50.0}, "cuDNN has no softcap"),
        ("gpu", {"head_dim": 256}, "cuDNN takes heads of up to 128 columns"),
        ("gpu", {"key_length": 4095}, "cuDNN takes even lengths"),
    ],
)
def test_the_reference_computes_what_the_kernels_refuse(on_platform, caplog, platform, changes, reason):
    on_platform(platform)
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto", replace(LARGE, **changes)) == "reference"
    assert reason in caplog.text


def test_a_merging_decoder_takes_the_reference_and_its_encoder_the_kernel(on_platform, caplog):
    """Asked for by name, so it is a warning."""
    on_platform("tpu")
    config = make_config("encoder_decoder", **POSITIONS["rotary"], merged_attention=True)
    chosen = [
        choose_backend(
            "flash",
            AttentionShape.of_layer(
                each.cycle[0].attention, Execution(), AttentionMask(), (8, 512, 512), drops=False
            ),
        )
        for each in config.stacks
    ]
    assert chosen == ["flash", "reference"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(("platform", "backend"), [("tpu", "flash"), ("gpu", "cudnn")])
@pytest.mark.parametrize("changes", [{"kv_heads": 4}, {"kv_heads": 1, "window": (1023, 0)}])
def test_shared_heads_and_windows_are_the_kernels_too(on_platform, platform, backend, changes):
    on_platform(platform)
    assert choose_backend("auto", replace(LARGE, **changes)) == backend


def test_softcap_is_the_tpu_kernels_too(on_platform):
    on_platform("tpu")
    assert choose_backend("auto", replace(LARGE, softcap=50.0)) == "flash"


def test_the_reason_is_logged_once_and_an_unfulfilled_wish_as_a_warning(on_platform, caplog):
    on_platform("cpu")
    for batch in (8, 8, 16):
        choose_backend("flash", replace(LARGE, batch=batch))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "attention of 4096 queries over 4096 keys: the reference op, not flash "
        "(it does not run on platform 'cpu')"
    )


def test_a_platform_without_a_choice_is_not_worth_a_line(on_platform, caplog):
    on_platform("cpu")
    with caplog.at_level(logging.INFO):
        choose_backend("auto", LARGE)
    assert not caplog.records


def test_programs_for_a_gpu_that_is_not_here_take_the_reference(on_platform, monkeypatch, caplog):
    on_platform("cpu")
    monkeypatch.setattr(choice, "target_platform", lambda: "gpu")
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto", LARGE) == "reference"
    assert "cuDNN is chosen on the GPU itself" in caplog.text


def test_a_wish_is_fulfilled_for_short_sequences(on_platform):
    on_platform("tpu")
    short = replace(LARGE, query_length=32, key_length=32)
    assert choose_backend("auto", short) == "reference"
    assert choose_backend("flash", short) == "flash"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"batch": 3}, "3 rows do not divide over 2 devices"),
        ({"num_heads": 6, "kv_heads": 6}, "6 heads do not divide over 4 devices"),
        ({"kv_heads": 2}, None),
        ({"kv_heads": 1}, None),
        ({"num_heads": 24, "kv_heads": 6}, "a device's 6 heads end amid 4 that share a head of keys"),
        ({"num_heads": 12, "kv_heads": 3}, "a device's 3 heads end amid 4 that share a head of keys"),
        ({"query_length": 4097}, "4097 queries do not divide over 2 devices"),
        ({"query_length": 4000}, "a device's 2000 queries are no multiple of 128"),
    ],
)
def test_a_mesh_divides_rows_queries_and_heads(on_platform, caplog, changes, reason):
    on_platform("tpu")
    config = PartitioningConfig(fsdp=2, sequence=2, tensor=4, style="sequence_parallel")
    partitioner = abstract_partitioner(config, 16)
    with partitioner.activate(), caplog.at_level(logging.INFO):
        backend = choose_backend("auto", replace(LARGE, **changes))
    assert backend == ("reference" if reason else "flash")
    assert (reason or "") in caplog.text


def test_several_devices_need_a_partitioner(on_platform, monkeypatch, caplog):
    """XLA refuses to divide a kernel, and nobody says whether it would have to."""
    on_platform("tpu")
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto", LARGE) == "reference"
    assert "no partitioner says how it is divided" in caplog.text


def test_the_platform_is_that_of_the_mesh():
    partitioner = abstract_partitioner(PartitioningConfig(), 1)
    assert isinstance(partitioner.mesh, AbstractMesh)
    assert target_platform() == "cpu"
    with partitioner.activate():
        assert target_platform() == "cpu"

    class Device:
        platform = "tpu"

    mesh = jax.sharding.Mesh(np.array([Device()]).reshape(1, 1, 1, 1), partitioner.mesh.axis_names)
    with Partitioner(mesh, partitioner.rules).activate():
        assert target_platform() == "tpu"


def make_arrays(length=24, heads=4, kv_heads=4, head_dim=8):
    rng = np.random.default_rng(0)
    q, k, v = (
        jnp.asarray(rng.standard_normal((2, length, each, head_dim)), jnp.float32)
        for each in (heads, kv_heads, kv_heads)
    )
    return q, k, v, jnp.asarray(rng.standard_normal((8, heads)), jnp.float32)


def test_dropping_keys_is_dropping_weights():
    q, k, v, _ = make_arrays()
    key = jax.random.key(3)
    dropped = dot_product_attention(q, k, drop_keys(v, 0.4, key))
    np.testing.assert_allclose(
        dropped, dot_product_attention(q, k, v, dropout_rate=0.4, dropout_key=key), atol=1e-6
    )
    assert np.abs(dropped - dot_product_attention(q, k, v)).max() > 0.1


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(
    ("masking", "kv_heads", "window"),
    [
        ("none", 4, None),
        ("causal", 4, None),
        ("segments", 4, None),
        ("prefix", 4, None),
        ("none", 2, (3, 5)),
        ("causal", 1, (3, 5)),
        ("prefix", 2, (3, None)),
    ],
)
def test_cudnn_gets_what_the_reference_does(with_bias, masking, kv_heads, window):
    """By XLA's implementation of the same function of jax.nn."""
    q, k, v, table = make_arrays(kv_heads=kv_heads)
    ids = jnp.asarray(np.repeat([[1, 2, 2, 0], [1, 1, 1, 1]], 6, axis=1), jnp.int32)
    mask = AttentionMask(
        causal=masking in ("causal", "prefix"),
        query_segment_ids_BL=ids if masking in ("segments", "prefix") else None,
        key_segment_ids_BM=ids if masking in ("segments", "prefix") else None,
        bidirectional_keys_BM=(ids == 2).astype(jnp.int32) if masking == "prefix" else None,
        window=window,
    )

    def outputs(op):
        def out(q, k, v, table):
            return op(q, k, v, RelativeBias(table, True, 16) if with_bias else None)

        value, pullback = jax.vjp(out, q, k, v, table)
        return value, *pullback(jnp.cos(value))

    got = outputs(lambda q, k, v, bias: cudnn_attention(q, k, v, mask=mask, bias=bias, implementation="xla"))
    expected = outputs(
        lambda q, k, v, bias: dot_product_attention(
            q, k, v, mask=mask, bias_HLM=bias and bias.array(q.shape[1], k.shape[1])
        )
    )
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert bool(np.abs(expected[-1]).max() > 0.1) == with_bias


@pytest.fixture
def interpreted_kernel(on_platform, monkeypatch):
    """The layers use the TPU kernel, on this machine; returns the lengths that it was called for."""
    on_platform("tpu")
    kernel, calls = functools.partial(sharded.sharded_flash_attention, interpret=True), []

    def counted(q, k, v, *, mask, bias, softcap):
        calls.append((q.shape[1], k.shape[1], bias is not None and bias.computed_HLM is None))
        return kernel(q, k, v, mask=mask, bias=bias, softcap=softcap)

    monkeypatch.setattr(sharded, "sharded_flash_attention", counted)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("per_layer", [False, True])
def test_a_model_trains_the_same_by_the_kernel(interpreted_kernel, per_layer):
    positions = RelativePositions(num_buckets=8, max_distance=6, per_layer=per_layer)
    config = make_config("encoder_decoder", positions=positions, dropout_rate=0.1)
    config = replace(config, num_encoder_layers=1, num_decoder_layers=1, num_heads=2)
    by_kernel = tiny_from_config(config, execution=Execution(attention="flash"))
    by_reference = tiny_from_config(config, by_kernel.params, Execution(attention="reference"))
    batch = make_rows(config, [[(1, 4), (2, 3)], [(3, 5)]], length=9)

    def value_and_gradients(tiny):
        def loss(params):
            outputs = tiny.model.bind(params)(batch, dropout_key=jax.random.key(1))
            return jnp.mean(jnp.sin(3 * outputs))

        return jax.jit(jax.value_and_grad(loss))(by_kernel.params)

    expected_loss, expected = value_and_gradients(by_reference)
    assert interpreted_kernel == []
    loss, gradients = value_and_gradients(by_kernel)
    assert sorted(interpreted_kernel) == [(9, 9, True), (9, 11, False), (11, 11, True)]
    np.testing.assert_allclose(loss, expected_loss, rtol=0, atol=1e-6)
    assert_trees_close(gradients, expected, rtol=2e-5)


def test_the_bias_is_one_array_outside_the_loop_for_the_reference():
    """Not one for each layer: that would be half of a CPU's time for attention."""
    config = EncoderDecoderConfig(
        vocab_size=40, embed_dim=16, mlp_dim=16, head_dim=4, num_heads=2, num_encoder_layers=5,
        num_decoder_layers=1,
    )  # fmt: skip
    tiny = tiny_from_config(config, execution=Execution(attention="reference"))
    batch = make_rows(config, [[(1, 9)]], length=9)
    jaxpr = jax.make_jaxpr(lambda params: tiny.forward(params, batch))(tiny.params)

    def loops(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "scan":
                yield equation
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                yield from loops(inner)

    (encoder,) = (loop for loop in loops(jaxpr.jaxpr) if loop.params["length"] == 5)
    # What the loop slices has five rows, one for each layer.
    assert (2, 11, 11) in [v.aval.shape for v in encoder.invars]


def test_a_backend_is_chosen_once_for_the_layers_that_attend_alike(monkeypatch):
    """With dropout for heads of keys of their own, which is what the kernels take then."""
    asked = []
    monkeypatch.setattr(stack, "choose_backend", lambda _, shape: asked.append(shape) or "reference")
    config = EncoderDecoderConfig(
        vocab_size=40, embed_dim=16, mlp_dim=16, head_dim=4, num_heads=4, num_kv_heads=2,
        num_encoder_layers=5, num_decoder_layers=3, dropout_rate=0.1,
    )  # fmt: skip
    model, batch = build(config), make_rows(config, [[(1, 9)]], length=9)
    for key, kv_heads in ((None, 2), (jax.random.key(0), 4)):
        jax.eval_shape(
            lambda params, key: model.bind(params)(batch, dropout_key=key), model.abstract_params, key
        )
        seen = [(shape.query_length, shape.key_length, shape.kv_heads) for shape in asked]
        assert sorted(seen) == [(9, 9, kv_heads), (9, 11, kv_heads), (11, 11, kv_heads)]
        asked.clear()


def test_heads_that_share_keys_drop_their_own(interpreted_kernel):
    q, k, v, _ = make_arrays(kv_heads=2)
    mask, key = AttentionMask(causal=True, window=(9, 0)), jax.random.key(2)
    got, expected = (
        attention(q, k, v, backend=backend, mask=mask, softcap=2.0, dropout_rate=0.4, dropout_key=key)
        for backend in ("flash", "reference")
    )
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert len(interpreted_kernel) == 1


def test_attention_without_a_key_drops_nothing(interpreted_kernel):
    q, k, v, _ = make_arrays()
    got = attention(q, k, v, backend="flash", mask=AttentionMask(), dropout_rate=0.5)
    np.testing.assert_allclose(got, dot_product_attention(q, k, v), atol=1e-5)
    assert len(interpreted_kernel) == 1


@pytest.mark.parametrize("backend", ["reference", "flash"])
def test_what_attention_gives_is_kept_once_with_its_heads_as_one_dimension(monkeypatch, backend):
    """Named by a kernel and by its caller it would be kept twice; heads of 64 columns are padded to 128."""
    monkeypatch.setattr(stack, "choose_backend", lambda *_: backend)
    config = make_config("encoder_only", head_dim=64, num_heads=2)
    model = build(config, Execution(remat="save", remat_names=("context",)))
    batch = make_rows(config, [[(1, 128)]], length=128)

    def loss(params):
        return jnp.sum(make_forward(model)(params, batch))

    kept = jax.tree.leaves(jax.eval_shape(lambda params: jax.vjp(loss, params)[1], model.abstract_params))
    kernel = jax.tree.leaves(model.abstract_params["encoder"]["layers"])[-1]
    shapes = [leaf.shape for leaf in kept if leaf.shape[:3] == (kernel.shape[0], 1, 128)]
    assert sorted(shapes) == [(kernel.shape[0], 1, 128, 16), (kernel.shape[0], 1, 128, 128)]


@pytest.fixture
def cudnn_of_a_gpu(monkeypatch):
    """Whatever jax.nn asks about a GPU and its cuDNN is answered, so that programs for one can be traced."""
    module = "jax._src.cudnn.fused_attention_stablehlo"
    monkeypatch.setattr(f"{module}.check_cudnn_version", lambda: 91100)
    monkeypatch.setattr(f"{module}.check_compute_capability", lambda _: True)
    monkeypatch.setattr(f"{module}.is_cuda_compute_capability_equal", lambda _: False)


def forward_kernels(jaxpr):
    """Return how many calls of a kernel's forward pass give what is read; others the compiler removes."""
    read = {id(v) for v in jaxpr.outvars} | {id(v) for equation in jaxpr.eqns for v in equation.invars}
    count = 0
    for equation in jaxpr.eqns:
        is_forward = (
            equation.primitive.name == "dot_product_attention_fwd_wrapper"
            or equation.params.get("name") == "flash_attention_forward"
        )
        if is_forward:
            count += any(id(v) in read for v in equation.outvars)
        else:
            count += sum(map(forward_kernels, jax.extend.core.jaxprs_in_params(equation.params)))
    return count


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.usefixtures("cudnn_of_a_gpu")
def test_a_kernel_whose_context_is_kept_runs_once(monkeypatch, backend):
    """Its result alone is not what its backward pass reads."""
    monkeypatch.setattr(stack, "choose_backend", lambda *_: backend)
    config = make_config("encoder_only", head_dim=64, num_heads=2)
    batch = make_rows(config, [[(1, 128)]], length=128)

    def runs(**changes):
        model = build(config, Execution(compute_dtype="bfloat16", **changes))
        loss = jax.grad(lambda params: jnp.sum(make_forward(model)(params, batch)))
        return forward_kernels(jax.make_jaxpr(loss)(model.abstract_params).jaxpr)

    assert runs(remat="gathered") == 1
    assert runs(remat="save", remat_names=("mlp_wi", "context")) == 1
    assert runs(remat="offload", remat_names=("layer_input", "context")) == 1
    assert runs(remat="full") == 2
