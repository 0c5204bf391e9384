"""T5X checkpoints of every layout become the parameters they were written from."""

import itertools
import logging
import math
import re
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.cli.main import main
from t5lite.core.errors import UserError
from t5lite.interop import FORMATS, arrival
from t5lite.interop.t5x import import_folder
from t5lite.interop.t5x.leaves import JoinedLeaf, StackedLeaf
from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    GatedMLP,
    LearnedPositions,
    PlainMLP,
    RelativePositions,
    RMSNorm,
)
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from tests.t5x_writer import random_params, target_of, write_msgpack_checkpoint, write_orbax_checkpoint

pytestmark = pytest.mark.slow

VERSIONS: dict[str, dict[str, Any]] = {
    "T5 1.0": {"mlp": PlainMLP(activation="relu"), "tie_embeddings": True},
    "T5 1.1": {"mlp": GatedMLP(activation="gelu_tanh"), "tie_embeddings": False},
    "umT5": {"positions": RelativePositions(num_buckets=8, per_layer=True)},
}


def make_config(version: str = "T5 1.1", **changes: Any) -> EncoderDecoderConfig:
    """Widths and depths all different, so that no two axes or stacks can be confused."""
    fields: dict[str, Any] = {
        "vocab_size": 24,
        "embed_dim": 16,
        "mlp_dim": 20,
        "head_dim": 6,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 5,
        "positions": RelativePositions(num_buckets=8),
    }
    return EncoderDecoderConfig(**{**fields, **VERSIONS[version], **changes})


def assert_imports(path, config, params, dtype="float32"):
    found_config, found = import_folder(path, param_dtype=dtype)
    assert found_config == config
    assert jax.tree.structure(found) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}


def test_parts_of_joined_axes_are_those_of_the_joined_array():
    rng = np.random.default_rng(0)
    array = rng.standard_normal((3, 4, 5, 2)).astype(np.float32)
    leaf = JoinedLeaf(StackedLeaf([_whole(part) for part in array]), 1)
    joined = array.reshape(3, 20, 2)
    assert (leaf.shape, leaf.block[1] % 5) == (joined.shape, 0)
    for start, stop in itertools.combinations(range(21), 2):
        index = (slice(1, 3), slice(start, stop), slice(0, 1))
        np.testing.assert_array_equal(leaf.read(index), joined[index])


def _whole(array):
    """A leaf that is in memory."""
    return SimpleNamespace(shape=array.shape, block=array.shape, read=lambda index: array[index])


@pytest.mark.parametrize("flat_heads", [True, False], ids=["flat heads", "heads"])
@pytest.mark.parametrize("scanned", [False, True], ids=["unscanned", "scanned"])
@pytest.mark.parametrize("version", VERSIONS)
def test_inline_arrays(tmp_path, version, scanned, flat_heads):
    config = make_config(version)
    params = random_params(config)
    target = target_of(params, scanned=scanned, apart=None if flat_heads else config.head_dim)
    assert_imports(write_msgpack_checkpoint(tmp_path / "checkpoint_7", target), config, params)


@pytest.mark.parametrize("flat_heads", [True, False], ids=["flat heads", "heads"])
@pytest.mark.parametrize("scanned", [False, True], ids=["unscanned", "scanned"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("layout", ["zarr", "orbax"])
def test_stored_arrays(tmp_path, layout, version, scanned, flat_heads):
    config = make_config(version)
    params = random_params(config)
    target = target_of(params, scanned=scanned, apart=None if flat_heads else config.head_dim)
    if layout == "zarr":
        write_msgpack_checkpoint(tmp_path / "checkpoint_7", target, stored="kernel")
    else:
        write_orbax_checkpoint(tmp_path / "checkpoint_7", target)
    assert_imports(tmp_path / "checkpoint_7", config, params)


@pytest.mark.parametrize("compressor", ["gzip", "blosc", "zstd", None])
def test_compressors(tmp_path, compressor):
    params = random_params(make_config())
    target = target_of(params)
    write_msgpack_checkpoint(tmp_path / "checkpoint_7", target, stored="", compressor=compressor)
    assert_imports(tmp_path / "checkpoint_7", make_config(), params)


@pytest.mark.parametrize(
    "spec", [{"driver": "gfile"}, {"driver": "gcs", "bucket": "t5x-dummy-bucket"}], ids=["gfile", "gcs"]
)
def test_drivers_of_where_it_was_written(tmp_path, spec):
    params = random_params(make_config())
    write_msgpack_checkpoint(tmp_path / "checkpoint_7", target_of(params), stored="mlp", spec=spec)
    assert_imports(tmp_path / "checkpoint_7", make_config(), params)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("stored", [None, "kernel"])
def test_bfloat16(tmp_path, version, stored):
    config = make_config()
    params = random_params(config, dtype="bfloat16")
    target = target_of(params, scanned=True)
    write_msgpack_checkpoint(tmp_path / "checkpoint_7", target, stored=stored, version=version)
    assert_imports(tmp_path / "checkpoint_7", config, params, dtype="bfloat16")
    _, wide = import_folder(tmp_path / "checkpoint_7")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.float32(b)), wide, params)


def test_chunked_arrays(tmp_path, monkeypatch):
    """Flax cuts arrays above MAX_CHUNK_SIZE, which msgpack cannot hold, into flat chunks."""
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 100)
    params = random_params(make_config())
    for scanned in (True, False):
        directory = write_msgpack_checkpoint(
            tmp_path / f"checkpoint_{scanned}", target_of(params, scanned=scanned)
        )
        assert b"__msgpack_chunked_array__" in (directory / "checkpoint").read_bytes()
        assert_imports(directory, make_config(), params)


@pytest.mark.parametrize(("ocdbt", "zarr3"), [(True, False), (True, True), (False, False), (False, True)])
def test_orbax_formats(tmp_path, ocdbt, zarr3):
    params = random_params(make_config())
    target = target_of(params)
    write_orbax_checkpoint(tmp_path / "checkpoint_7", target, ocdbt=ocdbt, zarr3=zarr3)
    assert_imports(tmp_path / "checkpoint_7", make_config(), params)
    assert_imports(tmp_path / "checkpoint_7" / "state", make_config(), params)


def test_orbax_with_an_aggregate_file(tmp_path):
    """As Orbax wrote until 2024: small leaves in a msgpack, which names the others."""
    params = random_params(make_config())
    target = target_of(params)
    state = write_orbax_checkpoint(tmp_path / "checkpoint_7", target, ocdbt=False) / "state"
    inside = {name: value for name, value in target.items() if name.endswith("scale")}
    outside = {
        name: f"PLACEHOLDER://target.{name.replace('/', '.')}" for name in target if name not in inside
    }
    tree = serialization.to_state_dict({"step": np.int32(1)})
    nested: dict[str, Any] = {"state": tree, "target": {}}
    for name, value in {**inside, **outside}.items():
        *parents, last = name.split("/")
        node = nested["target"]
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    (state / "checkpoint").write_bytes(serialization.msgpack_serialize(nested))
    for directory in state.glob("target.*.scale"):
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()
    assert_imports(tmp_path / "checkpoint_7", make_config(), params)


@pytest.mark.parametrize("inner", ["encoder/encoder", "encoder/layers"])
def test_scanned_layers_with_one_table_and_under_another_name(tmp_path, inner):
    params = random_params(make_config())
    target = {}
    for name, value in target_of(params, scanned=True).items():
        if inner == "encoder/encoder":  # the table of a scanned stack, beside its scanned leaves
            name = name.replace("encoder/relpos_bias", "encoder/encoder/relpos_bias")
            name = name.replace("decoder/relpos_bias", "decoder/decoder/relpos_bias")
        else:
            name = name.replace("encoder/encoder/", "encoder/layers/").replace(
                "decoder/decoder/", "decoder/layers/"
            )
        target[name] = value
    write_msgpack_checkpoint(tmp_path / "checkpoint_7", target)
    assert_imports(tmp_path / "checkpoint_7", make_config(), params)


def test_which_checkpoint(tmp_path, caplog):
    """The file, the directory, or the newest of several: by number, not by name."""
    old, new = random_params(make_config()), random_params(make_config(), seed=1)
    write_msgpack_checkpoint(tmp_path / "checkpoint_900", target_of(old))
    write_msgpack_checkpoint(tmp_path / "checkpoint_1000", target_of(new))
    write_msgpack_checkpoint(tmp_path / "checkpoint_2000.tmp-17", target_of(old))
    assert_imports(tmp_path / "checkpoint_900" / "checkpoint", make_config(), old)
    assert_imports(tmp_path / "checkpoint_900", make_config(), old)
    with caplog.at_level(logging.INFO):
        assert_imports(tmp_path, make_config(), new)
    assert "holds 2 checkpoints; reading the newest, checkpoint_1000" in caplog.text
    count = len(target_of(new))
    assert f"taken: {count} leaves of target" in caplog.text
    assert f"left out: state/param_states ({count} leaves), state/step" in caplog.text
    assert "positions.max_distance=128, norm.epsilon=1e-06" in caplog.text


def test_fits():
    config = make_config()
    assert FORMATS["t5x"].fits(config) is None
    assert FORMATS["t5x"].fits(replace(config, dropout_rate=0.1)) is None
    changed = replace(
        config, norm=RMSNorm(epsilon=1e-5), positions=LearnedPositions(), mlp=PlainMLP(bias=True)
    )
    assert re.fullmatch(
        r"no T5 has norm=RMSNorm\(epsilon=1e-05.*, mlp=PlainMLP\(activation='relu', bias=True\) .*, "
        r"positions=LearnedPositions\(offset=0\) \(only RelativePositions\)",
        str(FORMATS["t5x"].fits(changed)),
    )
    far = replace(config, positions=RelativePositions(max_distance=64))
    assert FORMATS["t5x"].fits(far) == "no T5 has positions.max_distance=64 (only 128)"
    other = DecoderOnlyConfig(embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_layers=1)
    assert "is for encoder-decoder models, not decoder_only" in str(FORMATS["t5x"].fits(other))
    two_sided = SimpleNamespace(sides=("encoder", "decoder"), architecture="of_an_extension", vocab_size=8)
    assert "no T5 is without embed_dim" in str(FORMATS["t5x"].fits(two_sided))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_pieces_cover_a_region_once(data):
    """Whatever the block and the size of a piece, and within that size unless one block is larger."""
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    block = [data.draw(st.integers(1, size + 2)) for size in shape]
    region = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    source = SimpleNamespace(shape=tuple(shape), block=tuple(block))
    limit = data.draw(st.integers(1, 2000))
    seen = np.zeros(shape, int)
    with mock.patch.object(arrival, "_PIECE_BYTES", limit):
        for piece in arrival.pieces(source, tuple(region), itemsize=4):
            seen[piece] += 1
            assert 4 * math.prod(cut.stop - cut.start for cut in piece) <= max(limit, 4 * math.prod(block))
    expected = np.zeros(shape, int)
    expected[tuple(region)] = 1
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("scanned", [False, True], ids=["unscanned", "scanned"])
@pytest.mark.parametrize("layout", ["inline", "zarr"])
def test_memory_stays_near_the_parameters_themselves(tmp_path, layout, scanned):
    """Of a model of 24 layers, no more than one layer (or one piece) is in memory besides the result."""
    config = EncoderDecoderConfig(
        vocab_size=32, embed_dim=128, mlp_dim=512, head_dim=32, num_heads=4, num_encoder_layers=24,
        num_decoder_layers=1,
    )  # fmt: skip
    target = target_of(random_params(config), scanned=scanned)
    stored = "kernel" if layout == "zarr" else None
    directory = write_msgpack_checkpoint(tmp_path / "checkpoint_1", target, stored=stored)
    size = sum(value.nbytes for value in target.values())
    layer = size // 25
    import_folder(directory)  # what is made once for all imports
    with mock.patch.object(arrival, "_PIECE_BYTES", layer // 4):
        tracemalloc.start()
        _, params = import_folder(directory)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(params)) == size
    assert size <= peak <= size + 1.5 * layer


def test_two_input_kernels_do_not_say_their_activation(tmp_path, caplog):
    config = make_config(mlp=GatedMLP(activation="silu"))
    params = random_params(config)
    assert FORMATS["t5x"].fits(config) is None
    write_msgpack_checkpoint(tmp_path / "gated" / "checkpoint_1", target_of(params))
    with caplog.at_level(logging.INFO, "t5lite.interop"):
        assert import_folder(tmp_path / "gated")[0].mlp == GatedMLP(activation="gelu_tanh")
        assert "mlp.activation=gelu_tanh" in caplog.text
        caplog.clear()
        config_back, params_back = import_folder(tmp_path / "gated", activation="swiglu")
    assert config_back == config
    assert "mlp.activation" not in caplog.text
    jax.tree.map(np.testing.assert_array_equal, params_back, params)
    relu = random_params(make_config("T5 1.0"))
    write_msgpack_checkpoint(tmp_path / "relu" / "checkpoint_1", target_of(relu))
    with pytest.raises(UserError, match="activation='swiglu' is of an MLP with two input kernels"):
        import_folder(tmp_path / "relu", activation="swiglu")


def test_command(tmp_path, capsys):
    config = make_config(vocab_size=384)
    params = random_params(config)
    source = tmp_path / "t5x"
    write_msgpack_checkpoint(source / "checkpoint_7", target_of(params), stored="mlp")
    arguments = ["import", "--format", "t5x", "--from", str(source), "--output", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "format 't5x' holds no vocabulary" in capsys.readouterr().err
    wrong = ["import", "--from", str(source), "--output", str(tmp_path / "run"), "--activation", "swiglu"]
    assert main(wrong) == 2
    assert "--activation is for --format t5x, not for huggingface" in capsys.readouterr().err
    assert main([*arguments, "--vocabulary", "bytes", "--activation", "gated_gelu"]) == 0
    shown = capsys.readouterr()
    assert "left out: state/param_states" in shown.err
    assert "parameters from" in shown.out
    found = Snapshot(RunDirectory.at(tmp_path / "run"))
    trained = load_trained(found, make_partitioner(PartitioningConfig()))
    assert trained.model.config == config
    jax.tree.map(np.testing.assert_array_equal, trained.params, params)
