"""A T5X checkpoint that is damaged, or of something else, ends in one line that says which leaf and where."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.interop.t5x import import_folder, msgpack_file
from t5lite.interop.t5x.msgpack_file import read_msgpack
from t5lite.models.config import EncoderDecoderConfig, RelativePositions
from tests.t5x_writer import random_params, target_of, write_msgpack_checkpoint, write_orbax_checkpoint

CONFIG = EncoderDecoderConfig(
    vocab_size=24,
    embed_dim=16,
    mlp_dim=20,
    head_dim=6,
    num_heads=3,
    num_encoder_layers=2,
    num_decoder_layers=3,
    positions=RelativePositions(num_buckets=8),
)


@pytest.fixture(scope="module")
def target() -> dict[str, np.ndarray]:
    return target_of(random_params(CONFIG))


@pytest.fixture(scope="module")
def scanned() -> dict[str, np.ndarray]:
    return target_of(random_params(CONFIG), scanned=True)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        import_folder(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_leaves_that_are_missing_unexpected_or_misshapen_are_listed(tmp_path, target):
    changed = dict(target)
    del changed["decoder/layers_1/mlp/wo/kernel"]
    changed["encoder/layers_0/adapter/kernel"] = np.zeros((16, 4), np.float32)
    changed["encoder/layers_1/attention/out/kernel"] = np.zeros((18, 15), np.float32)
    message = refusal(write_msgpack_checkpoint(tmp_path / "checkpoint_1", changed))
    assert "missing: decoder/layers_1/mlp/wo/kernel (20, 16);" in message
    assert "unexpected: encoder/layers_0/adapter/kernel (16, 4);" in message
    assert (
        "wrong shape: encoder/layers_1/attention/out/kernel (18, 15) instead of (18, 16) or (3, 6, 16)"
        in message
    )


@pytest.mark.parametrize("partitioner", [None, "fitting"])
def test_leaves_that_are_not_finite_are_counted(tmp_path, target, partitioner):
    changed = {name: value.copy() for name, value in target.items()}
    changed["decoder/layers_1/mlp/wo/kernel"][0, :2] = np.nan
    changed["token_embedder/embedding"][3] = np.inf
    path = write_msgpack_checkpoint(tmp_path / "checkpoint_1", changed)
    with pytest.raises(CheckpointError) as caught:
        import_folder(path, partitioner=partitioner)
    assert "checkpoint_1 are not imported: 2 hold NaN or infinity: " in str(caught.value)
    assert "decoder/layers/mlp/wo (2 NaN)" in str(caught.value)
    assert "token_embedder/embedding (16 infinite)" in str(caught.value)


def test_scanned_leaves_of_other_depths_are_listed(tmp_path, scanned):
    changed = dict(scanned)
    changed["decoder/decoder/mlp/wi_0/kernel"] = np.zeros((16, 2, 20), np.float32)
    message = refusal(write_msgpack_checkpoint(tmp_path / "checkpoint_1", changed))
    assert "wrong shape: decoder/decoder/mlp/wi_0/kernel (16, 2, 20) instead of (16, 3, 20)" in message


@pytest.mark.parametrize("needed", ["token_embedder/embedding", "encoder/layers_0/mlp/wi_0/kernel"])
def test_a_leaf_that_tells_the_size(tmp_path, target, needed):
    changed = {name: value for name, value in target.items() if name != needed}
    assert f"lacks {needed}" in refusal(write_msgpack_checkpoint(tmp_path / "checkpoint_1", changed))
    changed[needed] = np.zeros(3, np.float32)
    assert f"leaf {needed} has shape (3,)" in refusal(
        write_msgpack_checkpoint(tmp_path / "checkpoint_2", changed)
    )


@pytest.mark.parametrize(("kept", "lacking"), [("decoder", "encoder"), ("encoder", "decoder")])
def test_other_architectures(tmp_path, target, kept, lacking):
    part = {name: value for name, value in target.items() if not name.startswith(lacking)}
    message = refusal(write_msgpack_checkpoint(tmp_path / "checkpoint_1", part))
    assert f"has no {lacking} layers" in message
    assert "not an encoder-decoder T5; found: " in message
    assert f"{kept}/layers_0" in message


def test_integers_are_no_weights(tmp_path, target):
    changed = target | {"encoder/encoder_norm/scale": np.zeros(16, np.int8)}
    message = refusal(write_msgpack_checkpoint(tmp_path / "checkpoint_1", changed))
    assert "target/encoder/encoder_norm/scale has dtype int8" in message


def remove_leaf(directory: Path) -> None:
    shutil.rmtree(directory / "target.decoder.decoder.mlp.wo.kernel")


def remove_chunk(directory: Path) -> None:
    (directory / "target.decoder.decoder.mlp.wo.kernel" / "1.1.1").unlink()


def cut_chunk(directory: Path) -> None:
    file = directory / "target.decoder.decoder.mlp.wo.kernel" / "0.1.0"
    file.write_bytes(file.read_bytes()[:50])


def spoil_metadata(directory: Path) -> None:
    (directory / "target.decoder.decoder.mlp.wo.kernel" / ".zarray").write_text('{"shape": [')


def endless_elements(directory: Path) -> None:
    file = directory / "target.decoder.decoder.mlp.wo.kernel" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dtype": [["x", "<f4", [2**40]]]}))


@pytest.mark.parametrize("damage", [remove_leaf, remove_chunk, cut_chunk, spoil_metadata, endless_elements])
def test_damaged_zarr_arrays(tmp_path, scanned, damage: Callable[[Path], None]):
    directory = write_msgpack_checkpoint(tmp_path / "checkpoint_1", scanned, stored="kernel")
    damage(directory)
    message = refusal(directory)
    assert "target/decoder/decoder/mlp/wo/kernel is missing or damaged" in message
    assert str(directory / "target.decoder.decoder.mlp.wo.kernel") in message
    assert "copy the checkpoint again" in message


def test_a_zarr_array_of_another_checkpoint(tmp_path, target):
    directory = write_msgpack_checkpoint(tmp_path / "checkpoint_1", target, stored="kernel")
    other = directory / "target.encoder.layers_0.mlp.wo.kernel"
    shutil.rmtree(other)
    shutil.copytree(directory / "target.encoder.layers_0.attention.out.kernel", other)
    assert "has shape (18, 16)" in refusal(directory)
    assert "but (20, 16) in the checkpoint's index" in refusal(directory)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc"])
def test_arrays_outside_the_checkpoint(tmp_path, target, path):
    directory = write_msgpack_checkpoint(
        tmp_path / "checkpoint_1", target, stored="encoder_norm", spec={"path": path}
    )
    assert re.search(rf"target/encoder/encoder_norm/scale points outside .*{path}", refusal(directory))


def test_damaged_orbax(tmp_path, target):
    directory = write_orbax_checkpoint(tmp_path / "checkpoint_1", target)
    manifest = directory / "state" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-5])
    assert "manifest.ocdbt is damaged" in refusal(directory)
    manifest.unlink()
    assert "which _METADATA lists" in refusal(directory)
    (directory / "state" / "_METADATA").write_text("{}")
    assert "_METADATA is damaged" in refusal(directory)


def test_orbax_lacking_a_leaf(tmp_path, target):
    state = write_orbax_checkpoint(tmp_path / "checkpoint_1", target, ocdbt=False) / "state"
    shutil.rmtree(state / "target.encoder.encoder_norm.scale")
    assert f"{state} lacks target/encoder/encoder_norm/scale" in refusal(tmp_path / "checkpoint_1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'model_checkpoint_path: "model.ckpt-1000"\n', "is a TensorFlow checkpoint"),
        (b"\xc1", "starts no value"),
        (serialization.msgpack_serialize([1]), "holds no 'target'"),
        (serialization.msgpack_serialize({"params": {"a": np.zeros(2)}}), "found: params"),
        (serialization.msgpack_serialize({"version": 1, "optimizer": {"target": {}}}), "version 1; readable"),
        (serialization.msgpack_serialize({"version": 3, "optimizer": {"target": {}}}), "holds no 'target'"),
        (serialization.msgpack_serialize({"target": {"a": 3}}), "leaf target/a is neither an array"),
        (b"\x91" * 500, "nests deeper"),
        (serialization.msgpack_serialize({"target": 1}) + b"\0", "follow the end"),
    ],
)
def test_other_files(tmp_path, content, message):
    (tmp_path / "checkpoint").write_bytes(content)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize("number", ["300000000", "30", "9" * 18])
def test_a_layer_far_beyond_the_others_is_named_before_any_is_made(tmp_path, target, number):
    leaf = f"encoder/layers_{number}/mlp/wo/kernel"
    changed = {**target, leaf: target["encoder/layers_0/mlp/wo/kernel"]}
    message = refusal(write_msgpack_checkpoint(tmp_path / "checkpoint_1", changed))
    assert f"leaf {leaf} is of encoder layer {number}, but there are only {len(changed)} leaves" in message


@pytest.mark.parametrize("content", [b"\x90", b"\xd9\xff" + 255 * b"x", b"\x81\x01\x02"])
def test_more_values_than_any_train_state_has_are_not_read(tmp_path, monkeypatch, content):
    monkeypatch.setattr(msgpack_file, "_MAX_STRUCTURE_BYTES", 1 << 20)
    (tmp_path / "checkpoint").write_bytes(b"\xdd\x7f\xff\xff\xff" + content * 20_000)
    assert "more names and values than a train state" in refusal(tmp_path)


@pytest.mark.parametrize("compressor", [None, "gzip"])
@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (1 << 40, "has chunks of 4,398,046,511,104"),
        (1 << 26, "has chunks"),
        (1 << 13, "is missing or dam"),
    ],
)
def test_chunks_that_no_array_of_the_size_has_are_refused(tmp_path, target, compressor, chunk, message):
    """TensorStore aborts the process where a chunk does not fit the memory."""
    directory = write_msgpack_checkpoint(
        tmp_path / "checkpoint_1", target, stored="encoder_norm", compressor=compressor
    )
    file = directory / "target.encoder.encoder_norm.scale" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chunks": [chunk]}))
    assert f"leaf target/encoder/encoder_norm/scale {message}" in refusal(directory)


def test_other_directories(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing")
    (tmp_path / "model.safetensors").touch()
    message = refusal(tmp_path)
    assert "holds no T5X checkpoint" in message
    assert "found: model.safetensors" in message
    assert "gs://bucket/checkpoint_1 is not a local path" in refusal("gs://bucket/checkpoint_1")


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, target):
    directory = write_msgpack_checkpoint(tmp_path / "checkpoint_1", target)
    content = (directory / "checkpoint").read_bytes()
    for length in np.linspace(1, len(content) - 1, 40).astype(int):
        (directory / "checkpoint").write_bytes(content[:length])
        assert "is damaged or no Flax msgpack" in refusal(directory)


SMALL = {
    "version": 3,
    "optimizer": {
        "target": {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [1.5, None, True, -7, 1 << 40]},
        "state": {"step": np.int32(3), "text": "x" * 300, "bytes": b"y" * 70_000},
    },
}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_altered_bytes_never_surprise(tmp_path_factory, changes):
    """Whatever the bytes are, a value or a CheckpointError comes of them."""
    content = bytearray(serialization.msgpack_serialize(SMALL))
    for position, value in changes:
        content[position] = value
    file = tmp_path_factory.getbasetemp() / "altered"
    file.write_bytes(content)
    message = ""
    try:
        read_msgpack(file)
    except CheckpointError as error:
        message = str(error)
    assert "\n" not in message


def test_every_kind_of_value(tmp_path):
    (tmp_path / "file").write_bytes(serialization.msgpack_serialize(SMALL))
    value = read_msgpack(tmp_path / "file")["optimizer"]
    a = value["target"].pop("a")
    assert (a.shape, a.dtype, a.flat(2, 5).tolist()) == ((2, 3), np.float32, [2, 3, 4])
    assert value["target"]["b"] == SMALL["optimizer"]["target"]["b"]
    assert value["state"]["step"].flat(0, 1).tolist() == [3]
    assert value["state"]["text"] == "x" * 300


def test_a_mesh_that_does_not_divide(tmp_path, target):
    from t5lite.partitioning import PartitioningConfig, abstract_partitioner

    directory = write_msgpack_checkpoint(tmp_path / "checkpoint_1", target)
    partitioner: Any = abstract_partitioner(PartitioningConfig(fsdp=1, tensor=8, style="tensor_parallel"), 8)
    with pytest.raises(ConfigError, match="is not divisible by mesh axis 'tensor'=8"):
        import_folder(directory, partitioner=partitioner)
