"""The entry point: where the reader of its output goes away, and what it shows of what is logged."""

import logging
import subprocess
import sys

import pytest

from t5lite.cli import status_command
from t5lite.cli.log import shown
from t5lite.cli.main import main


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
