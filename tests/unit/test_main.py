"""The entry point where the reader of its output goes away."""

import subprocess
import sys

import pytest


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
