"""A server of object storage that fails for a while, and one that fails for good."""

import botocore.exceptions
import gcsfs
import gcsfs.retry
import google.auth.exceptions
import pytest
import requests
from s3fs.errors import translate_boto_error

from t5lite.core.errors import DataError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.storage.addresses import place
from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.growing_objects import GrowingObjects, parts
from t5lite.core.storage.remote_path import RemotePath
from t5lite.core.storage.requests import requested
from t5lite.core.storage.retries import RETRIES
from t5lite.data.reading.input_files import find_input_files
from t5lite.data.reading.text_files import read_texts
from tests.faulty_proxy import faulty_proxy


@pytest.fixture
def proxy(gcs, monkeypatch):
    """A proxy before the server of gs://, whose client waits shortly before it tries again."""
    server = place(gcs).files._endpoint or gcsfs.core._location()
    monkeypatch.setattr(RETRIES, "total", 0)
    monkeypatch.setattr(gcsfs.retry, "min", lambda *_: 0.01, raising=False)
    with faulty_proxy(server) as proxy:
        files = gcsfs.GCSFileSystem(token="anon", endpoint_url=proxy.url, skip_instance_cache=True)
        monkeypatch.setattr(RemotePath, "files", property(lambda path: files))
        yield proxy


@pytest.mark.fault(
    "object storage answers 429 or 5xx, or cuts connections, for seconds",
    "its clients try again with longer and longer pauses; the first is said, all are counted",
    0,
)
@pytest.mark.parametrize(("fault", "counted"), [("503", 4), ("cut", 2)])  # aiohttp repeats a cut GET itself
def test_a_short_outage_is_not_seen_but_counted(proxy, gcs, fault, counted, caplog):
    path = place(gcs) / f"short-{fault}" / "a"
    proxy.faults = [fault] * 2
    path.write_bytes(b"1")
    proxy.faults = [fault]
    assert path.read_bytes() == b"1"
    proxy.faults = [fault]
    assert path.is_file()
    assert RETRIES.total == counted
    [said] = caplog.records
    assert said.getMessage().startswith("object storage: a request failed and is tried again (_request")
    RETRIES.say()
    assert f"{counted} requests in all failed and were tried again" in caplog.text


@pytest.mark.fault(
    "object storage does not answer for longer (half a minute; arrays of checkpoints: minutes)",
    "ends with the address, and is never taken for an empty directory; while metrics are "
    "written: said once, kept and written later",
    75,
)
@pytest.mark.parametrize("fault", ["503", "cut"])
def test_a_long_outage_is_an_error_that_a_restart_mends_and_never_a_no(proxy, gcs, fault):
    path = place(gcs) / f"long-{fault}" / "a"
    path.write_bytes(b"1")
    proxy.always = fault
    for ask in (path.exists, path.is_file, path.is_dir, path.read_bytes, path.unlink, path.parent.rmtree):
        with pytest.raises(TransientError, match=f"^{path.parent}.*object storage does not answer") as caught:
            ask()
        assert caught.value.exit_code == ExitCode.TRANSIENT
    with pytest.raises(TransientError):
        list(path.parent.iterdir())
    with pytest.raises(TransientError):
        path.write_bytes(b"2")
    proxy.always = None
    assert path.read_bytes() == b"1"


def test_inputs_in_a_storage_that_does_not_answer_are_not_missing(proxy, gcs, monkeypatch, caplog):
    folder = place(gcs) / "inputs"
    for module in ("file_systems", "input_files"):
        monkeypatch.setattr(f"t5lite.data.reading.{module}.file_system", lambda address: folder.files)
    (folder / "a.txt").write_text("some text")
    proxy.always = "503"
    for given in ("a.txt", "", "*.txt"):
        with pytest.raises(TransientError, match="object storage does not answer"):
            find_input_files([f"{folder}/{given}"])
    proxy.always = None
    (path,) = find_input_files([str(folder)]).paths
    proxy.always = "503"
    with pytest.raises(TransientError, match="object storage does not answer"):
        list(read_texts([path]))
    assert not [record for record in caplog.records if record.exc_info]  # the one line of the error says it


def test_what_was_appended_in_an_outage_is_written_after_it(proxy, gcs, caplog):
    folder = place(gcs) / "growing"
    objects = GrowingObjects(folder, "000000", ".jsonl")
    objects.append(b"1\n")
    objects.flush()
    proxy.always = "503"
    for line in (b"2\n", b"3\n"):
        objects.append(line)
        objects.flush()
    assert caplog.text.count("is kept and written later") == 1
    proxy.always = None
    objects.append(b"4\n")
    objects.close()
    assert [part.read_bytes() for part in parts(folder, ".jsonl")] == [b"1\n2\n3\n4\n"]


def _of_s3(code: str) -> BaseException:
    answer = {"Error": {"Code": code, "Message": "as S3 says it"}}
    return translate_boto_error(botocore.exceptions.ClientError(answer, "PutObject"))


@pytest.mark.parametrize(
    "error",
    [
        *map(_of_s3, ("InternalError", "500", "502", "503", "SlowDown", "ServiceUnavailable", "Throttling")),
        *map(_of_s3, ("RequestTimeout", "OperationAborted")),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://s3"),
        botocore.exceptions.ConnectTimeoutError(endpoint_url="http://s3"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://s3"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="http://s3"),
        botocore.exceptions.ProxyConnectionError(proxy_url="http://proxy"),
        botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        requests.ConnectionError("no route"),
        requests.Timeout("too slow"),
        google.auth.exceptions.TransportError("no route"),
    ],
    ids=repr,
)
def test_whatever_a_client_calls_an_outage_a_restart_mends_it(error):
    def request():
        raise error

    with pytest.raises(TransientError, match="s3://bucket/x: object storage does not answer"):
        requested("s3://bucket/x", request)


@pytest.mark.parametrize(
    "error",
    [
        *map(_of_s3, ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")),
        botocore.exceptions.NoCredentialsError(),
        google.auth.exceptions.DefaultCredentialsError("none"),
    ],
    ids=repr,
)
def test_what_is_refused_for_good_no_restart_mends(error):
    def request():
        raise error

    with pytest.raises(UserError, match=r"s3://bucket/x cannot be used .*your credentials"):
        requested("s3://bucket/x", request)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError(),
            r"opened .ValueError.; check your credentials and settings$",
        ),  # gcsfs of a wrong token
        (ImportError("no gcsfs"), r"opened .no gcsfs.; pip install 't5lite\[gcs\]'$"),
    ],
    ids=repr,
)
def test_credentials_that_a_client_does_not_take_are_no_missing_client(error, message, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("fsspec.url_to_fs", refuse)
    with pytest.raises(DataError, match=message):
        file_system("gs://bucket/x")
