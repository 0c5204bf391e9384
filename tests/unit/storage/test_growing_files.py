"""Files that grow while the disk is full now and then: nothing is lost that need not be, or in silence."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.errors import TransientError
from t5lite.core.storage import growing_files
from t5lite.core.storage.growing_files import GrowingFile


@contextlib.contextmanager
def files_end_at(num_bytes: int) -> Iterator[None]:
    """The operating system takes no byte of a file after so many, as a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.integers(0, 600))))
def test_a_file_is_always_the_beginning_of_what_was_appended_and_all_of_it_once_there_is_space(appended):
    everything = b"".join(record for record, _ in appended)
    with TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        file = GrowingFile(path)
        for record, limit in appended:
            with files_end_at(limit):
                file.append(record)
            assert everything.startswith(path.read_bytes())
        file.close()
        assert path.read_bytes() == everything


def test_what_is_kept_is_bounded_and_said_once_with_a_count_of_what_is_lost(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(growing_files, "MAX_KEPT_BYTES", 10)
    file = GrowingFile(tmp_path / "a")
    with files_end_at(3):
        for number in range(10):
            file.append(b"%d\n" % number)
    file.close()
    # Of the first, 3 bytes fit in; then 10 are kept, in whole records.
    assert (tmp_path / "a").read_bytes() == b"0\n1\n2\n3\n4\n5\n"
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        f"{tmp_path / 'a'} cannot be written (File too large)",
        f"{tmp_path / 'a'} is written again",
    ]
    assert "4 records of it are lost" in caplog.text


@pytest.mark.fault(
    "`metrics.jsonl` or the TensorBoard events cannot be written until the end of a run",
    "the state is saved; said with the number of lines lost",
    75,
)
def test_what_cannot_be_written_until_the_end_is_counted(tmp_path):
    file = GrowingFile(tmp_path / "a")
    with files_end_at(1):
        file.append(b"1\n")
        file.append(b"2\n")
        with pytest.raises(TransientError, match=r"2 records of .*/a could not be written \(File "):
            file.close()


def test_what_is_not_to_be_kept_is_an_error_at_once(tmp_path):
    file = GrowingFile(tmp_path / "a", keeps=False)
    with files_end_at(1):
        with pytest.raises(OSError, match="File too large") as raised:
            file.append(b"1\n")
        assert raised.value.filename == str(tmp_path / "a")
    file.close()
