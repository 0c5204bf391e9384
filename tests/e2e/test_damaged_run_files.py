"""Each file of a run directory, damaged in each way: one line that names it, and a remedy that works."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.runner.run_directory import RunDirectory
from tests.e2e.conftest import contents

NEWER = "was written by a newer t5lite: it has version 99, and this one reads up to \\d+; upgrade t5lite"
ANEW = "delete it and run `t5lite train` with the recipe of this run again, which writes it anew"


def damaged(content: bytes) -> Iterator[bytes]:
    """Yield what may be left of a JSON object in a file, or be put in its place."""
    yield from (b"", content[: len(content) // 2], b"\xff\xfe\x00", b"[]", b"12", b"[" * 100_000)
    value = json.loads(content)
    yield json.dumps({name: [{}] if name != "version" else 1 for name in value}).encode()
    yield json.dumps({**value, "unheard_of": 1}).encode()


@pytest.fixture
def train_copy(train_arguments: list[str], run_copy: Path) -> list[str]:
    return [*train_arguments, "--run-dir", str(run_copy)]


def refusal(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert main(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        (
            "config_history.json",
            {"version": 1, "entries": [{"step": 5, "examples_seen": 40, "changes": []}]},
            "delete it: nothing but the list of what was changed is lost",
        ),
        (
            "rollbacks.json",
            {"version": 1, "rollbacks": []},
            "delete it: the checkpoints, too, say which examples are left out",
        ),
        ("model.json", None, ANEW),
    ],
)
@pytest.mark.fault(
    "a file of a run (`config.json`, `model.json`, `config_history.json`, `rollbacks.json`) is truncated, of "
    "another type, or misses fields",
    "refused by name with a remedy; deleted, it is written anew, also by a finished run",
    2,
)
def test_a_damaged_file_is_refused_by_train_with_a_remedy_that_works(
    name: str, content: dict | None, remedy: str, train_copy: list[str], run_copy: Path, capfd
):
    file = run_copy / name
    whole = file.read_bytes() if content is None else json.dumps(content).encode()
    file.write_bytes(whole)
    assert main(train_copy) == 0
    before = contents(run_copy)
    for each in damaged(whole) if content is None else (b"", whole[:9], b"[]"):
        file.write_bytes(each)
        line = refusal(train_copy, capfd)
        assert re.match(f"t5lite train: {re.escape(str(file))}\\b.*; {re.escape(remedy)}$", line), line
        assert contents(run_copy) == {**before, name: each}
    file.write_bytes(json.dumps(json.loads(whole) | {"version": 99}).encode())
    assert re.search(f"{name} {NEWER}$", refusal(train_copy, capfd))
    file.unlink()
    capfd.readouterr()
    assert main(train_copy) == 0
    assert ("written anew" in capfd.readouterr().err) == (content is None)
    if content is None:
        assert file.read_bytes() == whole


def test_what_only_readers_need_is_told_by_them_and_written_anew_by_a_finished_run(
    train_copy: list[str], run_copy: Path, text_data: Path, capfd: pytest.CaptureFixture[str]
):
    evaluate = ["evaluate", "--run", str(run_copy)]
    for name in ("config.json", "model.json"):
        file = run_copy / name
        whole = file.read_bytes()
        for each in damaged(whole):
            file.write_bytes(each)
            line = refusal(evaluate, capfd)
            assert re.match(f"t5lite evaluate: {re.escape(str(file))}\\b.*; {re.escape(ANEW)}$", line), line
            assert main(["status", str(run_copy)]) == 0
            shown = capfd.readouterr().out
            assert (f"{file} is damaged" in shown) == (name == "config.json" and not shown_as_object(each))
        file.unlink()
        assert main(train_copy) == 0
        assert f"written anew, for they were missing or damaged: {name}" in capfd.readouterr().err
        if name == "model.json":
            assert file.read_bytes() == whole
    assert RunDirectory.at(run_copy).read_config().run_dir == str(run_copy)
    # Of one that is an object of another kind a finished run takes no notice until then.
    (run_copy / "config.json").write_text('{"version": 2}')
    assert main(train_copy) == 0
    assert "written anew" in capfd.readouterr().err
    vocabulary = run_copy / "spiece.model"
    whole = vocabulary.read_bytes()
    for each in (b"", whole[:1000], b"[]"):
        vocabulary.write_bytes(each)
        line = refusal(evaluate, capfd)
        assert re.search(
            rf"{vocabulary} is not (a Sent|the voc).*; copy it from the token store again$", line
        )
    shutil.copy(text_data / "train" / "spiece.model", vocabulary)
    assert vocabulary.read_bytes() == whole


def shown_as_object(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def test_a_foreign_config_json_makes_no_directory_a_run(
    train_arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "config.json").write_text('{"model_type": "t5", "architectures": ["T5Model"]}')
    line = refusal([*train_arguments, "--run-dir", str(tmp_path)], capfd)
    assert "is not a run (no model.json) and holds config.json; move it away" in line


def test_a_finished_run_that_cannot_be_written_to_says_that_it_is_finished(
    train_copy: list[str], run_copy: Path, capfd: pytest.CaptureFixture[str], monkeypatch
):
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0 and may(path, mode))
    before = contents(run_copy)
    assert main(train_copy) == 0
    assert f"{run_copy} is finished: step 40" in capfd.readouterr().err
    for more in (["--training.total-steps", "41"], ["--from-step", "30"]):
        line = refusal([*train_copy, *more], capfd)
        assert re.search(f"{run_copy}.*cannot be written|cannot write.*{run_copy}", line), line
    assert contents(run_copy) == before
