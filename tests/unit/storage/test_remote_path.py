import contextlib
import io

import pytest

from t5lite.core.errors import UserError
from t5lite.core.storage.addresses import place


@pytest.fixture
def folder(bucket):
    return place(bucket)


def test_objects_are_files_and_what_begins_with_a_name_is_its_folder(folder):
    assert not folder.exists()
    assert not folder.is_dir()
    (folder / "a" / "b.txt").write_bytes(b"\x00hey")
    (folder / "c.json").write_text("é")
    assert folder.is_dir()
    assert (folder / "a").is_dir()
    assert not folder.is_file()
    assert (folder / "c.json").is_file()
    assert not (folder / "c.json").is_dir()
    assert sorted(path.name for path in folder.iterdir()) == ["a", "c.json"]
    assert [path.name for path in folder.glob("*.json")] == ["c.json"]
    assert (folder / "a" / "b.txt").read_bytes() == b"\x00hey"
    assert (folder / "c.json").read_text() == "é"
    folder.rmtree()
    assert not folder.exists()
    folder.rmtree(missing_ok=True)


@pytest.mark.parametrize("names", [["top"], ["top", "also"], ["below/it"], ["top", "below/it"]])
def test_a_folder_is_deleted_wherever_its_objects_lie(folder, names):
    """A save that was killed at once leaves a file on top and nothing else."""
    for name in names:
        (folder / name).write_bytes(b"")
    folder.rmtree()
    assert not folder.exists()


def test_what_is_not_there_is_not_found(folder):
    with pytest.raises(FileNotFoundError):
        (folder / "a").read_bytes()
    with pytest.raises(FileNotFoundError):
        list(folder.iterdir())
    with pytest.raises(FileNotFoundError):
        folder.rmtree()
    (folder / "a").unlink(missing_ok=True)


def test_another_process_is_seen_at_once(folder):
    """Clients keep listings unless told not to."""
    assert not folder.exists()
    other = type(folder.files)(skip_instance_cache=True)
    other.pipe_file(str(folder / "checkpoints" / "1"), b"")
    assert [path.name for path in folder.iterdir()] == ["checkpoints"]
    other.pipe_file(str(folder / "checkpoints" / "2"), b"")
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["1", "2"]


def test_a_stream_is_put_as_a_whole_or_not_at_all(folder):
    with (folder / "whole").open("w") as stream:
        stream.write("a\nb\n")
    with (folder / "whole").open() as stream:
        assert list(stream) == ["a\n", "b\n"]
    for mode, content in (("w", "half"), ("wb", b"half")):
        with contextlib.suppress(ZeroDivisionError), (folder / "half").open(mode) as stream:
            stream.write(content)
            raise ZeroDivisionError
    assert not (folder / "half").exists()
    with pytest.raises(ValueError, match="objects do not grow"):
        (folder / "whole").open("a")


def test_what_cannot_be_asked_is_an_error_not_a_no(folder, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError("403: no access")

    monkeypatch.setattr(folder.files, "info", forbidden)
    for ask in (folder.exists, folder.is_file, folder.is_dir):
        with pytest.raises(UserError, match=r"cannot be used \(403: no access\); check the bucket"):
            ask()


def test_nothing_is_renamed(folder):
    (folder / "a").write_bytes(b"")
    with pytest.raises(io.UnsupportedOperation):
        (folder / "a").rename(folder / "b")
