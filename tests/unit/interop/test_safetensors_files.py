"""Our reader and writer of safetensors against the library's."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.safetensors_files import plan_files, read_entry, read_header, write_file

DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]


def write(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    dtype = next(iter(tensors.values())).dtype
    named = [(name, tensor.shape) for name, tensor in tensors.items()]
    (output,) = plan_files(named, dtype, max_shard_bytes=10**9)
    write_file(folder, output, dtype, iter(tensors.items()))


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=4),
    dtype=st.sampled_from(DTYPES),
)
@settings(deadline=None, max_examples=30)
def test_each_reads_what_the_other_writes(shapes, dtype, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    tensors = {f"t.{i}": rng.standard_normal(shape).astype(dtype) for i, shape in enumerate(shapes)}
    write(folder, tensors)
    for name, tensor in load_file(folder / "model.safetensors").items():
        np.testing.assert_array_equal(tensor, tensors[name])
        assert tensor.dtype == dtype
    save_file(tensors, folder / "theirs.safetensors")
    entries = read_header(folder / "theirs.safetensors")
    assert entries.keys() == tensors.keys()
    for name, entry in entries.items():
        np.testing.assert_array_equal(read_entry(entry), tensors[name])
        if tensors[name].ndim:
            np.testing.assert_array_equal(read_entry(entry, slice(1, 3)), tensors[name][1:3])


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), limit=st.integers(1, 40))
@settings(deadline=None, max_examples=50)
def test_files_keep_the_order_and_the_limit(sizes, limit):
    tensors = [(str(i), (size,)) for i, size in enumerate(sizes)]
    outputs = plan_files(tensors, np.dtype(np.float32), max_shard_bytes=limit)
    assert [entry for output in outputs for entry in output.tensors] == tensors
    for output in outputs:
        assert len(output.tensors) == 1 or sum(4 * shape[0] for _, shape in output.tensors) <= limit


def damage(header: bytes, data: bytes = b"\0" * 16) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def described(**changes: object) -> bytes:
    return json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}).encode()


def both(one: bytes, other: bytes) -> bytes:
    return one[:-1] + b", " + other[1:]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        (2**40).to_bytes(8, "little") + b"{}",
        damage(b"[]"),
        damage(b"{not json"),
        damage(described(data_offsets=[0, 20])),
        damage(described(data_offsets=[-4, 12])),
        damage(described(shape=[5])),
        damage(described(shape="wide")),
        damage(b'{"a": {"dtype": "F32"}}'),
        damage(described(), b"\0" * 15),
        damage(described(), b"\0" * 17),
        damage(described(shape=[-2, -2])),
        damage(described(shape=[2**32, 2**32], data_offsets=[0, 0]), b""),  # 0 bytes, counted in 64 bits
        damage(described(shape=[2.0, 2])),
        damage(described(data_offsets=[4, 20]), b"\0" * 20),  # bytes of no tensor
        damage(both(described(), described().replace(b'"a"', b'"b"'))),  # the same bytes twice
        damage(both(described(), described(shape=[2, 2]))),  # one name twice
        damage(b"[" * 10**5),
    ],
)
def test_damaged_files_are_refused_before_anything_is_read(content, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_header(tmp_path / "x.safetensors")


def test_a_file_cut_off_after_its_header_was_read(tmp_path):
    write(tmp_path, {"a": np.zeros(4, np.float32)})
    file = tmp_path / "model.safetensors"
    entry = read_header(file)["a"]
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="is truncated"):
        read_entry(entry)


def test_a_full_disk_is_said(tmp_path):
    (tmp_path / "model.safetensors").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .* \(No space left"):
        write(tmp_path, {"a": np.zeros(10**6, np.float32)})
