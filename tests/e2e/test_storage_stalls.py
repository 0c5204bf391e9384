"""A server of object storage that stops answering in the middle of a run, for a while and for good."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests import storage_servers
from tests.e2e.conftest import REPOSITORY

SOON = """
import sys
from t5lite.cli.main import main
from t5lite.core.storage import file_systems, requests

file_systems._SILENT_SECONDS, requests._SECONDS = 1, 3
sys.exit(main(sys.argv[1:]))
"""
"""Trains with bounds of seconds where they are of minutes."""


def _newest_step(url: str) -> int:
    """Return the newest finished checkpoint, as the server lists it."""
    objects = f"{url}/storage/v1/b/{storage_servers.BUCKET}/o?prefix=run/checkpoints/"
    with urllib.request.urlopen(objects) as answer:
        names = [entry["name"] for entry in json.load(answer).get("items", [])]
    found = [re.fullmatch(r"run/checkpoints/(\d+)/commit_success.txt", name) for name in names]
    return max((int(match[1]) for match in found if match), default=0)


@pytest.mark.slow
@pytest.mark.fault(
    "a server of object storage stops answering in the middle of a run",
    "for seconds: the run goes on; for good: it ends at its lease's deadline or the watchdog's for a save",
    "0; 75, 76",
)
def test_a_server_that_stops_is_waited_for_but_not_for_ever(train_arguments, tmp_path):
    errors = tmp_path / "errors.txt"
    options = ["--training.total-steps", "100000", "--training.eval-every-steps", "100000"]
    options += ["--checkpoints.save-every-steps", "10", "--training.log-every-steps", "10"]
    options += ["--lease.heartbeat-seconds", "1", "--lease.deadline-seconds", "5"]
    options += ["--watchdog.save-seconds", "8"]
    with storage_servers.gcs_process() as (url, server), errors.open("w") as stream:
        environment = {
            **os.environ,
            **storage_servers.gcs_environment(url),
            "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "1",
        }
        run = f"gs://{storage_servers.BUCKET}/run"
        process = subprocess.Popen(
            [sys.executable, "-c", SOON, *train_arguments, *options, "--run-dir", run],
            **{"cwd": REPOSITORY, "env": environment, "stdout": subprocess.DEVNULL, "stderr": stream},
            text=True,
        )

        def wait_until(reached: Callable[[], bool]) -> None:
            deadline = time.monotonic() + 120
            while not reached():
                assert process.poll() is None, errors.read_text()
                assert time.monotonic() < deadline, errors.read_text()
                time.sleep(0.1)

        try:
            wait_until(lambda: _newest_step(url) > 0)
            server.send_signal(signal.SIGSTOP)
            wait_until(lambda: "failed and is tried again" in errors.read_text())
            server.send_signal(signal.SIGCONT)
            before = _newest_step(url)
            wait_until(lambda: _newest_step(url) > before + 20)
            server.send_signal(signal.SIGSTOP)
            assert process.wait(timeout=120) in (75, 76), errors.read_text()
        finally:
            process.kill()
            process.wait()
            server.send_signal(signal.SIGCONT)
    said = errors.read_text()
    assert "not answer" in said or "is in the phase 'save'" in said
    assert "Traceback" not in said
