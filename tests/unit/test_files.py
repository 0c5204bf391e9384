"""Replacing a directory: what t5lite wrote goes once the new one is there, and nothing else ever does."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core import files, written_files
from t5lite.core.errors import UserError
from tests.e2e.conftest import contents

OLD = {"mark": "old", "a/weights": "old" * (1 << 19), "a/b/config": "1"}


def replace(directory: Path, content: dict[str, str] | None = None, **options):
    with files.new_directory(directory, overwrite=True, mark="mark", **options) as temporary:
        for name, text in (content or {"mark": "new"}).items():
            files.write_text(temporary / name, text)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    directory = tmp_path / "out"
    replace(directory, OLD)
    return directory


def test_the_old_directory_is_deleted_only_when_the_new_one_is_in_place(old: Path, monkeypatch):
    deleted = []

    def unlink(path: Path, **options):
        assert (old / "mark").read_text() == "new"
        deleted.append(path.name)
        remove(path, **options)

    remove = Path.unlink
    monkeypatch.setattr(Path, "unlink", unlink)
    replace(old)
    assert sorted(deleted) == sorted([written_files.LIST, "config", "mark", "weights"])
    assert list(old.parent.iterdir()) == [old]


def test_the_old_directory_is_put_back_when_the_new_one_cannot_take_its_place(old: Path, monkeypatch):
    def refuse(source, target):
        if target == old and (source / "mark").read_text() == "new":
            raise PermissionError("refused")
        move(source, target)

    before = contents(old)
    move = os.replace
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        replace(old)
    assert contents(old) == before
    assert list(old.parent.iterdir()) == [old]


def test_of_a_link_the_directory_it_names_is_replaced(old: Path):
    link = old.parent / "link"
    link.symlink_to(old)
    replace(link)
    assert link.is_symlink()
    assert (old / "mark").read_text() == "new"


def test_a_link_to_nothing_is_refused_before_work(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a link to nothing"):
        files.check_new_directory(tmp_path / "link")


def add(path: Path) -> None:
    files.write_text(path, "mine")


def link_to_a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(__file__)


def link_to_a_directory(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(Path(__file__).parent)


def pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def replaced_by(make):
    def change(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return change


def edit_the_end(path: Path) -> None:
    path.write_text(path.read_text()[:-1] + "2")  # of the same size


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("README.md", add),
        (".git/HEAD", add),
        ("a/b/new\nline", add),
        ("a/.t5lite-files.json", add),
        ("link", link_to_a_file),
        ("a/folder", link_to_a_directory),
        ("pipe", pipe),
        ("a/b/config", edit_the_end),
        ("a/weights", edit_the_end),
        ("a/weights", add),
        ("a/b/config", replaced_by(link_to_a_file)),
        ("a/b/config", replaced_by(pipe)),
    ],
)
def test_what_is_of_others_or_was_changed_stands_in_the_way_by_name(name, change, old: Path):
    change(old / name)
    before = sorted(old.parent.rglob("*"))
    with pytest.raises(UserError) as error:
        replace(old)
    shown = name if name.isprintable() else ascii(name)
    assert f"holds 1 file ({shown}) that t5lite did not write or that changed since" in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(old.parent.rglob("*")) == before
    (old / name).unlink()  # the remedy: moved away
    replace(old)
    assert (old / "mark").read_text() == "new"


def test_many_files_are_counted():
    shown = written_files.shown([f"{number:04}" for number in range(1234)])
    assert shown == "1,234 files (0000, 0001, 0002, 0003, 0004 and 1,229 more)"


NAMES = st.lists(st.sampled_from(["a", "b", "mark", "b/c", "b/d"]), unique=True)


@settings(deadline=None, max_examples=40)
@given(written=NAMES, added=NAMES)
def test_a_directory_is_replaced_exactly_if_t5lite_wrote_all_that_is_in_it(written, added, tmp_path_factory):
    folder = tmp_path_factory.mktemp("x")
    (old, copy) = (folder / "old", folder / "copy")
    own = {name.replace("b/", "folder/"): name for name in {"mark", *written}}
    replace(old, own)
    shutil.copytree(old, copy)  # a copy, without the times, is known as well
    mine = {name.replace("b/", "folder/") for name in added}
    for name in mine:
        files.write_text(copy / name, own.get(name, "mine"))
    if mine <= own.keys():  # written anew as they were
        replace(copy)
        assert contents(copy).keys() == {"mark", written_files.LIST}
    else:
        before = contents(copy)
        with pytest.raises(UserError, match=f"holds {len(mine - own.keys())} file"):
            replace(copy)
        assert contents(copy) == before


def test_what_earlier_versions_wrote_is_not_overwritten_and_the_remedy_works(old: Path):
    (old / written_files.LIST).unlink()
    message = r"holds 3 files \(mark, a/weights, a/b/config\) and no \.t5lite-files\.json .*delete it"
    with pytest.raises(UserError, match=message):
        replace(old)
    shutil.rmtree(old)
    replace(old)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"format": "t5lite files 2", "files": {}}',
        '{"format": "t5lite files 1", "files": 3}',
    ],
)
def test_a_list_that_is_none_counts_for_nothing(damage, old: Path):
    (old / written_files.LIST).write_text(damage)
    with pytest.raises(UserError, match="nothing is overwritten"):
        replace(old)


def test_a_list_names_nothing_outside_of_its_directory(old: Path):
    mine = old.parent / "mine"
    mine.write_text("old")
    listed = (old / written_files.LIST).read_text()
    for name in ("../mine", str(mine)):
        (old / written_files.LIST).write_text(listed.replace('"mark"', f'"{name}": {{}}, "mark"'))
        replace(old, OLD)
        assert mine.read_text() == "old"


def test_equal_directories_have_equal_lists(tmp_path: Path):
    for name, order in (("a", list(OLD)), ("b", list(OLD)[::-1])):
        replace(tmp_path / name, {file: OLD[file] for file in order})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_what_came_during_the_work_is_kept_and_said(old: Path, caplog):
    with files.new_directory(old, overwrite=True, mark="mark") as temporary:
        files.write_text(temporary / "mark", "new")
        files.write_text(old / "a" / "notes", "mine")
    assert (old / "mark").read_text() == "new"
    (kept,) = (path for path in old.parent.iterdir() if path != old)
    assert contents(kept) == {
        "a": None,
        "a/notes": b"mine",
        written_files.LIST: (kept / written_files.LIST).read_bytes(),
    }
    assert f"1 file (a/notes) came to {old} meanwhile: kept in {kept}" in caplog.text


@pytest.mark.parametrize("place", [".", "..", "inside/..", "link"])
def test_no_one_s_place_is_taken(place: str, tmp_path: Path, monkeypatch):
    here = tmp_path / "up" / "here"
    (here / "inside").mkdir(parents=True)
    (here / "link").symlink_to(here)
    monkeypatch.chdir(here)
    with pytest.raises(UserError, match="the current directory; give a directory of its own, such as"):
        files.check_new_directory(Path(place), overwrite=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(here))
    with pytest.raises(UserError, match="your home directory; give a directory of its own"):
        files.check_new_directory(here / place, overwrite=True)


def test_a_mount_point_is_not_taken(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    with pytest.raises(UserError, match="is a mount point; give a directory in it"):
        files.check_new_directory(tmp_path / "disk")
    files.check_new_directory(tmp_path / "disk" / "new")


@pytest.mark.parametrize(
    ("output", "given", "how"),
    [
        ("out", "out", "is"),
        ("out", "out/in.txt", "holds"),
        ("out", "out/sub/in.txt", "holds"),
        ("out/sub/..", "out/in.txt", "holds"),
        ("link", "out/in.txt", "holds"),
        ("out", "link/in.txt", "holds"),
        ("out", "to_in.txt", "holds"),
        ("out", "out/to_there.txt", "holds"),
        ("out/new", "out", "lies in"),
        ("out/new/er", "link", "lies in"),
        ("link/new", "out", "lies in"),
        ("there.txt", "out/to_there.txt", "is"),
        ("out", "there.txt", None),
        ("outer", "out/in.txt", None),
        ("new", "out", None),
        ("out/sub", "out/in.txt", None),
        ("out/sub", "out/*.txt", None),
    ],
)
def test_what_is_read_and_what_is_written_are_apart(output, given, how, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("out/in.txt", "out/sub/in.txt", "there.txt"):
        files.write_text(Path(name), "")
    Path("link").symlink_to("out")
    Path("to_in.txt").symlink_to("out/in.txt")
    Path("out/to_there.txt").symlink_to(tmp_path / "there.txt")
    if how is None:
        files.check_apart(Path(output), [given])
    else:
        with pytest.raises(
            UserError, match=f"^{output} {how} {given}, which is read; write to a place apart"
        ):
            files.check_apart(Path(output), ["elsewhere", given])


def test_a_device_is_not_replaced(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path(os.devnull), tmp_path / "pipe"):
        with pytest.raises(UserError, match="is a device or a pipe, which cannot be replaced"):
            files.write_text(path, "")


@pytest.mark.parametrize("blocks", [0, 1, 3, 4, 5, 40])
def test_a_change_anywhere_in_a_file_is_seen(tmp_path, monkeypatch, blocks):
    """All of a file that is small; of a large one, a change as long as what lies between two blocks."""
    monkeypatch.setattr(written_files, "_BLOCK_BYTES", 8)
    monkeypatch.setattr(written_files, "_NUM_BLOCKS", 4)
    with files.new_directory(tmp_path / "out", mark="weights") as directory:
        (directory / "weights").write_bytes(bytes(8 * blocks))
    file, size = tmp_path / "out" / "weights", 8 * blocks
    assert written_files.foreign(tmp_path / "out") == []
    longest = 1 if blocks <= 4 else size // 3
    for start in range(size - longest + 1):
        content = bytearray(size)
        content[start : start + longest] = b"x" * longest
        file.write_bytes(content)
        assert written_files.foreign(tmp_path / "out") == ["weights"]


@pytest.mark.parametrize("umask", [0o077, 0o002, 0o022])
def test_who_may_read_what_is_written_is_up_to_the_user(umask, tmp_path):
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "file", "x")
        with files.new_directory(tmp_path / "directory") as directory:
            files.write_text(directory / "file", "x")
    finally:
        os.umask(before)
    for path in (tmp_path / "file", tmp_path / "directory", tmp_path / "directory" / "file"):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask
