"""A clone without its large files: pointers are named as such, whatever they stand for."""

import pytest

from t5lite.core.errors import UserError
from t5lite.core.lfs import LARGEST_POINTER_BYTES, check_not_lfs_pointer
from t5lite.data.reading.lines import read_lines
from t5lite.data.vocabulary import open_vocabulary
from t5lite.interop.huggingface.pytorch_files import read_pytorch
from t5lite.interop.safetensors_files import read_header

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d2\nsize 1\n"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("model.safetensors", read_header),
        ("pytorch_model.bin", read_pytorch),
        ("spiece.model", open_vocabulary),
        ("tokenizer.json", open_vocabulary),
        ("inputs.txt", lambda path: list(read_lines(path))),
    ],
)
def test_a_pointer_is_named(tmp_path, name, read):
    path = tmp_path / name
    path.write_text(POINTER)
    with pytest.raises(UserError, match=rf"{name}.* is a Git LFS pointer, .*`git lfs pull` in the clone"):
        read(path)


def test_other_files_pass(tmp_path):
    check_not_lfs_pointer(tmp_path / "missing")
    check_not_lfs_pointer(tmp_path)
    (tmp_path / "long").write_text(POINTER.ljust(LARGEST_POINTER_BYTES, "\n"))
    check_not_lfs_pointer(tmp_path / "long")
