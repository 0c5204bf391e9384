import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.core.errors import ConfigError, DataError
from t5lite.core.storage.addresses import absolute_location, is_remote, local_path, local_place, place
from t5lite.core.storage.file_systems import CLIENTS


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("runs/a", Path("runs/a")),
        ("/runs/lr[3e-4]", Path("/runs/lr[3e-4]")),
        ("file:///runs/a", Path("/runs/a")),
        (Path("runs/a"), Path("runs/a")),
        ("a:b/c", Path("a:b/c")),
        ("4://x", Path("4:/x")),  # no scheme begins with a digit
    ],
)
def test_a_local_place_is_a_path(address, path):
    found = place(address)
    assert found == path
    assert isinstance(found, Path)
    assert not is_remote(found)


@pytest.mark.parametrize("address", ["gs://b", "gs://b/x", "s3://b/x/y.json", "gs://b/x y/é=1,2"])
def test_a_place_in_a_bucket_keeps_its_address(address):
    found = place(address)
    assert str(found) == address
    assert place(found) == found
    assert is_remote(found)
    assert str(found / "a" / "b") == f"{address}/a/b"
    assert (found / "a").parent == found
    assert type(found / "a") is type(found.parent) is type(found)


def test_where_only_a_local_path_will_do_an_address_is_refused():
    assert local_place("file:///a/b") == Path("/a/b")
    with pytest.raises(ConfigError, match="gs://b/x: only a local path will do here"):
        local_place("gs://b/x")
    for mistyped in ("gs:/b/x", "gs:b/x"):
        with pytest.raises(DataError, match="gs://b/x is not a local path"):
            local_path(mistyped)


def test_gcs_is_another_name_of_gs():
    assert str(place("gcs://b/x")) == "gs://b/x"


@pytest.mark.parametrize("address", ["gs://b/x", "gcs://b/x", "gs://b/x/", "gcs://b/x//"])
def test_a_place_has_one_location(address):
    assert absolute_location(address) == str(place("gs://b/x")) == str(place(absolute_location(address)))


def test_the_home_directory_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert place("~/runs") == Path("/home/ada/runs")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (" gs://b/x", r"^' gs://b/x' begins or ends with white space; write gs://b/x$"),
        ("s3://b/x\n", r"^'s3://b/x\\n' begins or ends with white space; write s3://b/x$"),
        (
            "memory://b/x",
            r"scheme 'memory', which nothing is written to; allowed: gcs, gs, s3, file, and local",
        ),
        ("hdfs://b/x", "scheme 'hdfs'"),
        ("s3a://b/x", "did you mean 's3'"),
        ("GS://b/x", "scheme 'GS'"),
        ("https://b/x", "scheme 'https'"),
        (
            "gs:/b/x",
            "gs:/b/x is no address .gs://b/x has two slashes.*write gs://b/x, or make the local folder",
        ),
        (Path("gs://b/x"), "write gs://b/x"),
        ("gs:b/x", "gs:b/x is no address .gs://b/x has two slashes.*or make the local folder"),
        ("s3:b", "write s3://b"),
        ("/data/s3:/b/x", "write s3://b/x"),
        ("gs://", "names no bucket; write gs://BUCKET/DIRECTORY"),
        ("s3:///x", "names no bucket"),
        ("file://host/x", "names a host"),
        ("gs://b/lr[3e-4]", r"'gs://b/lr\[3e-4\]' holds '\['"),
        ("gs://b/*", "pattern"),
        ("s3://b/a\nb", "use another name"),
        ("gs://b/x/../y", "holds . or .."),
        ("", "a path is empty"),
        (" \t", "a path is empty"),
    ],
)
def test_what_is_no_place_is_refused(address, message):
    with pytest.raises(ConfigError, match=message):
        place(address)


def test_a_folder_that_is_there_is_local_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gs:").mkdir()
    assert place("gs:/b/x") == Path("gs:/b/x")
    Path("gs:b").mkdir()
    assert place("gs:b/x") == Path("gs:b/x")


@pytest.mark.parametrize("scheme", CLIENTS)
def test_a_missing_client_is_named_with_its_extra(scheme, monkeypatch):
    monkeypatch.setitem(sys.modules, CLIENTS[scheme].module, None)
    with pytest.raises(ConfigError, match=r"not installed; pip install 't5lite\[(gcs|s3)\]'$"):
        place(f"{scheme}://b/x")


def test_who_uses_local_paths_pays_for_no_client():
    code = (
        "import sys; from t5lite.core.storage.addresses import place; place('runs/a')\n"
        "print(*sys.modules.keys() & {'fsspec', 'etils', 'gcsfs', 's3fs', 'aiohttp'})"
    )
    assert subprocess.check_output([sys.executable, "-c", code]) == b"\n"
