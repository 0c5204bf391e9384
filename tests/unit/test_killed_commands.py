"""What a command leaves that is killed while it writes a directory, and who takes it away."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from t5lite.core import files
from t5lite.core.errors import UserError

WRITE = """
import os, signal, sys
from pathlib import Path
from t5lite.core import files
path, moment = Path(sys.argv[1]), sys.argv[2]
replace = os.replace

def replaced(source, target):
    if moment == "between" and Path(target) == path and path.name not in os.listdir(path.parent):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if moment == "after" and Path(target) == path:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replaced
with files.new_directory(path, overwrite=True, mark="mark") as directory:
    (directory / "mark").write_text("new")
    if moment == "within":
        print("within", flush=True)
        sys.stdin.read()
"""


@contextmanager
def writing(path: Path, moment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that writes ``path`` and is killed at some moment, or writes until it is."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WRITE, str(path), moment], **pipes) as process:
        if moment == "within":
            assert process.stdout.readline() == "within\n"
        yield process
        process.kill()


def write(path: Path, content: str, *, overwrite: bool = False) -> None:
    with files.new_directory(path, overwrite=overwrite, mark="mark") as directory:
        (directory / "mark").write_text(content)


@pytest.mark.fault(
    "`prepare`, `export` or `import` is killed",
    "the output is untouched; the next command for it deletes what was left half-written, or "
    "puts back what was being replaced, and says so",
    0,
)
def test_what_a_killed_command_left_is_deleted_by_the_next_one_and_said(tmp_path, caplog):
    path = tmp_path / "out"
    with writing(path, "within"):
        pass
    (left,) = tmp_path.iterdir()
    (tmp_path / ".out.of-others").mkdir()
    (tmp_path / f".other{left.name.removeprefix('.out')}").mkdir()
    before = set(tmp_path.iterdir()) - {left}
    write(path, "mine")
    assert set(tmp_path.iterdir()) == before | {path}
    assert [record.getMessage() for record in caplog.records] == [
        f"deleted {left}, which a command left that was killed"
    ]


def test_what_a_living_command_writes_is_left_alone(tmp_path, caplog):
    path = tmp_path / "out"
    with writing(path, "within") as process:
        (living,) = tmp_path.iterdir()
        write(path, "mine")
        assert (living / "mark").read_text() == "new"
        assert not caplog.records
        process.communicate("", timeout=60)
        assert process.returncode == 0
    assert (path / "mark").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_was_being_replaced_is_put_back(tmp_path, caplog):
    path = tmp_path / "out"
    write(path, "old")
    with writing(path, "between") as process:
        process.wait(60)
    assert not path.exists()
    with pytest.raises(UserError, match="exists and is not empty"):
        write(path, "mine")
    assert (path / "mark").read_text() == "old"
    said = [record.getMessage() for record in caplog.records]
    assert f"{path} is put back: a command was killed while it replaced it" in said
    assert list(tmp_path.iterdir()) == [path]
    write(path, "mine", overwrite=True)
    assert (path / "mark").read_text() == "mine"


def test_a_directory_that_was_replaced_is_deleted_later(tmp_path):
    path = tmp_path / "out"
    write(path, "old")
    with writing(path, "after") as process:
        process.wait(60)
    assert (path / "mark").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2
    write(path, "mine", overwrite=True)
    assert list(tmp_path.iterdir()) == [path]
