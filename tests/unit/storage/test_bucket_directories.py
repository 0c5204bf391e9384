"""Whole directories in buckets: cut off at any object they are nothing; the next command replaces them."""

import contextlib
import os
import tempfile
from collections.abc import Callable

import pytest

from t5lite.core import files
from t5lite.core.errors import UserError
from t5lite.core.storage import bucket_directories
from t5lite.core.storage.addresses import place
from t5lite.core.storage.bucket_directories import UNFINISHED
from t5lite.core.storage.remote_path import RemotePath
from t5lite.core.temporary_directories import temporary_directory
from t5lite.core.written_files import LIST

IN_ORDER = ["train/[a]*", "z", "train/index.json", "config.json", LIST]


@pytest.fixture(autouse=True)
def temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def path(gcs, request):
    return place(gcs) / request.node.name / "model"


def write(path: RemotePath, content: str, *, overwrite: bool = False, **others: str) -> None:
    last = ("index.json", "config.json")
    with files.new_directory(path, overwrite=overwrite, mark="config.json", last=last) as local:
        for name in ("config.json", "train/index.json", "train/[a]*", "z"):
            files.write_text(local / name, content)
        for name, text in others.items():
            files.write_text(local / name, text)
        assert not path.exists() or overwrite or (path / UNFINISHED).exists()


def contents(path: RemotePath) -> dict[str, str]:
    return {name: (path / name).read_text() for name in path.sizes() if name != LIST}


def written(content: str) -> dict[str, str]:
    return dict.fromkeys(IN_ORDER[:-1], content)


@pytest.fixture
def uploads(monkeypatch):
    """The names that were put, and what happens when so many were."""
    put: list[str] = []
    when: dict[int, Callable[[], None]] = {}
    upload = RemotePath.upload

    def watched(self, local):
        if not put:
            when.get(0, lambda: None)()
        upload(self, local)
        put.append(str(self).partition("/model/")[2])
        when.get(len(put), lambda: None)()

    monkeypatch.setattr(RemotePath, "upload", watched)
    return put, when


def cut_off() -> None:
    raise KeyboardInterrupt


def test_what_makes_a_directory_what_it_is_is_put_last(bucket, uploads, tmp_path):
    path = place(bucket) / "model"
    write(path, "a")
    assert uploads[0] == IN_ORDER
    assert contents(path) == written("a")
    assert list(tmp_path.iterdir()) == []
    with files.new_directory(path.with_name("large")) as local:
        files.write_bytes(local / "weights", b"\x00" * (6 << 20))
    assert path.with_name("large").sizes() == {"weights": 6 << 20}


@pytest.mark.fault(
    "`prepare`, `export` or `import` to a bucket is killed, or the storage fails for good",
    "what was put is marked as unfinished and is no store or model, for what makes it one is put last; the "
    "next command says who left it, and replaces it",
    0,
)
def test_cut_off_before_any_object_it_is_nothing_and_is_replaced(path, uploads, caplog):
    put, when = uploads
    for number in range(len(IN_ORDER)):
        place_of_it = path.parent / str(number) / "model"
        is_there = number % 2 == 0
        if is_there:
            write(place_of_it, "old", old="old")
        put.clear()
        when[number] = cut_off
        with pytest.raises(KeyboardInterrupt):
            write(place_of_it, "half", overwrite=is_there)
        when.clear()
        assert contents(place_of_it).keys() == {UNFINISHED, *IN_ORDER[:number]}
        caplog.clear()
        files.check_new_directory(place_of_it, mark="config.json")
        write(place_of_it, "new")
        assert contents(place_of_it) == written("new")
        assert f"process {os.getpid()} of " in caplog.text
    with pytest.raises(UserError, match=r"exists and is not empty.*--overwrite"):
        files.check_new_directory(place_of_it, mark="config.json")


def test_what_others_put_beside_what_was_left_stays(path, uploads):
    uploads[1][2] = cut_off
    with pytest.raises(KeyboardInterrupt):
        write(path, "half")
    files.write_text(path / "mine", "mine")
    before = contents(path)
    with pytest.raises(UserError, match=r"holds 1 file \(mine\) that t5lite did not write"):
        write(path, "new")
    assert contents(path) == before


def test_killed_after_its_last_object_it_is_whole(path):
    write(path, "a")
    begun = bucket_directories.Unfinished(id="1", by="a process", files=(*IN_ORDER,))
    files.write_json(path / UNFINISHED, {"format": "t5lite unfinished 1", **vars(begun)})
    with pytest.raises(UserError, match="exists and is not empty"):
        files.check_new_directory(path, mark="config.json")
    write(path, "b", overwrite=True)
    assert contents(path) == written("b")


def test_of_two_commands_the_later_one_goes_on(path, uploads):
    put, when = uploads

    def other_command():
        when.clear()
        write(path, "later")

    when[3] = other_command
    with pytest.raises(UserError, match=r"another command began to write to .* meanwhile"):
        write(path, "earlier")
    assert contents(path) == written("later")
    assert len(put) == 3 + len(IN_ORDER)


@pytest.mark.parametrize("then", [lambda: None, cut_off])
def test_what_the_earlier_one_puts_until_it_sees_the_mark_goes_too(path, uploads, then):
    put_mark = bucket_directories.write_bytes
    uploads[1][0] = cut_off
    with pytest.raises(KeyboardInterrupt):
        write(path, "earlier", late="late")
    uploads[1].clear()

    def put_late(place, content):
        files.write_text(path / "late", "late")
        put_mark(place, content)
        then()

    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(bucket_directories, "write_bytes", put_late)
        write(path, "later")
    write(path, "last", overwrite=True)
    assert contents(path) == written("last")


def test_only_what_was_written_and_is_unchanged_is_overwritten(bucket, monkeypatch):
    path = place(bucket) / "model"
    with files.new_directory(path) as local:
        files.write_text(local / "config.json", "{}")
    with pytest.raises(UserError, match=r"has no \.t5lite-files\.json"):
        write(path, "b", overwrite=True)
    (path / "config.json").unlink()
    write(path, "a", old="old")
    with pytest.raises(UserError, match=r"has no mark, so"):
        files.check_new_directory(path, overwrite=True, mark="mark")
    files.write_text(path / "mine", "mine")
    files.write_text(path / "z", "changed")
    with pytest.raises(UserError, match=r"holds 2 files \(mine, z\)"):
        write(path, "b", overwrite=True)
    (path / "mine").unlink()
    files.write_text(path / "z", "a")
    modified = RemotePath.modified
    # Of S3 by whole seconds: a change within that of the last object is not seen.
    monkeypatch.setattr(RemotePath, "modified", lambda each: modified(each) + 2 * (each.name == "z"))
    with pytest.raises(UserError, match=r"holds 1 file \(z\)"):
        write(path, "b", overwrite=True)
    monkeypatch.setattr(RemotePath, "modified", lambda each: 0)
    write(path, "b", overwrite=True)
    assert contents(path) == written("b")


def test_what_a_killed_command_left_on_the_local_disk_is_deleted(path, tmp_path, caplog):
    with temporary_directory(bucket_directories.local_stand_in(path)) as left:
        pass
    write(path, "a")
    assert f"deleted {left}, which a command left that was killed" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_on_the_local_disk_it_is_private_and_follows_no_link(path, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bucket_directories.local_stand_in(path).symlink_to(elsewhere / "model")
    (elsewhere / "model").mkdir()
    with files.new_directory(path) as local:
        files.write_text(local / "weights", "a")
        assert local.parent == tmp_path
        assert local.stat().st_mode & 0o777 == 0o700
    assert contents(path) == {"weights": "a"}
