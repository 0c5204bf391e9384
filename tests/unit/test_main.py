"""The entry point: where the reader of its output goes away, and what it shows of what is logged."""

import gc
import logging
import os
import subprocess
import sys

import pytest

import t5lite.cli.main as main_module
from t5lite.cli import standard_streams, status_command
from t5lite.cli.log import shown
from t5lite.cli.main import main
from t5lite.core.exit_codes import ExitCode


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["export", "--help"]])
def test_a_closed_pipe_is_not_an_error(arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "t5lite.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert process.returncode == 0


@pytest.fixture
def handled_by_a_library():
    """The root logger has a handler, as it has once Orbax is imported (absl calls basicConfig)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)


def test_what_the_package_logs_is_shown_once_as_it_is(handled_by_a_library, monkeypatch, capsys):
    def command(_):
        logging.getLogger("t5lite.data.somewhere").warning("%d rows are left out", 3)
        logging.getLogger("t5lite.data.somewhere").info("not this")
        with shown("t5lite.models"):
            logging.getLogger("t5lite.models.kernels").info("attention by XLA")
        return 0

    monkeypatch.setattr(status_command, "run", command)
    assert main(["status"]) == 0
    assert capsys.readouterr().err == "3 rows are left out\nattention by XLA\n"
    assert logging.getLogger("t5lite").propagate


def test_what_is_logged_when_the_interpreter_ends_has_no_prefix_either():
    program = (
        "import atexit, logging\n"
        "from t5lite.cli.main import run_as_process\n"
        "logging.basicConfig()\n"
        "atexit.register(logging.getLogger('t5lite.core.storage.retries').warning, 'tried again')\n"
        "run_as_process()\n"
    )
    command = [sys.executable, "-c", program, "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "tried again\n")


@pytest.mark.parametrize(
    ("redirected", "arguments", "code"),
    [(">&-", "--version", 0), ("2>&-", "unknown", 2), ("<&- >&- 2>&-", "unknown", 2)],
)
def test_a_stream_that_is_closed_is_not_an_error_and_no_other_takes_its_place(redirected, arguments, code):
    command = f"exec {sys.executable} -m t5lite.cli.main {arguments} {redirected}"
    process = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (code, b"", b"")


def test_messages_that_nobody_takes_end_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    for descriptor in (writing, os.open("/dev/full", os.O_WRONLY)):
        stream = standard_streams.unfailing(descriptor, encoding="utf-8")
        for _ in range(3):
            print("x" * 100_000, file=stream, flush=True)
        stream.close()
        os.close(descriptor)


def test_another_pipe_that_breaks_is_no_reader_that_has_gone(monkeypatch, capfd):
    def broken(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("t5lite.cli.models_command.run", broken)
    assert main(["models"]) == ExitCode.TRANSIENT
    assert "t5lite models: Broken pipe" in capfd.readouterr().err


def test_what_a_command_imports_is_not_searched_for_garbage(tmp_path, monkeypatch):
    (tmp_path / "imported_command.py").write_text("import gc\ncollects = gc.isenabled()\ncycle = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        module = main_module._imported("imported_command")
        assert module is sys.modules["imported_command"]
        assert (module.collects, gc.isenabled()) == (False, True)
        assert not any(each is module.cycle for each in gc.get_objects())
    finally:
        gc.unfreeze()
        sys.modules.pop("imported_command", None)
