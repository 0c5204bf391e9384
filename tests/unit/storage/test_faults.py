"""A server of object storage that fails for a while, and one that fails for good."""

import json
import os
import time

import boto3
import botocore.exceptions
import fsspec.config
import gcsfs.retry
import google.auth.exceptions
import moto.settings
import pytest
import requests
import s3fs.core
from s3fs.errors import translate_boto_error

from t5lite.cli.main import main
from t5lite.core.errors import DataError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.storage import file_systems
from t5lite.core.storage import requests as storage_requests
from t5lite.core.storage.addresses import place
from t5lite.core.storage.file_systems import file_system
from t5lite.core.storage.growing_objects import GrowingObjects, parts
from t5lite.core.storage.remote_path import RemotePath
from t5lite.core.storage.requests import requested
from t5lite.core.storage.retries import RETRIES
from t5lite.data.reading.input_files import find_input_files
from t5lite.data.reading.text_files import read_texts
from tests.faulty_proxy import faulty_proxy

pytestmark = pytest.mark.slow

SILENT_SECONDS = 0.25
"""What the clients of these tests wait for a byte."""

_ENDPOINTS = {"gs": "STORAGE_EMULATOR_HOST", "s3": "AWS_ENDPOINT_URL"}


@pytest.fixture(params=["gcs", "s3"])
def service(request) -> str:
    """The address of a bucket of either."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxy(service, monkeypatch):
    """A proxy before its server, and clients that wait shortly, for an answer and before they ask again."""
    for name, value in {"_counted": 0, "_said": 0, "_others": []}.items():
        monkeypatch.setattr(RETRIES, name, value)
    monkeypatch.setattr(storage_requests, "_FIRST_PAUSE_SECONDS", 0.01)
    for client in (gcsfs.retry, s3fs.core):
        monkeypatch.setattr(client, "min", lambda *_: 0.01, raising=False)
    monkeypatch.setattr("botocore.retryhandler.delay_exponential", lambda **_: 0.01)
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", SILENT_SECONDS)
    monkeypatch.setattr(file_systems, "_SILENT_SECONDS", SILENT_SECONDS)
    settings = {name: dict(values) for name, values in fsspec.config.conf.items()}
    for values in settings.values():
        values.pop("requests_timeout", None)
    monkeypatch.setattr(fsspec.config, "conf", settings)
    kind, variable = type(file_system(service)), _ENDPOINTS[service.partition("://")[0]]
    with faulty_proxy(os.environ[variable]) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        files = kind(skip_instance_cache=True)
        monkeypatch.setattr(RemotePath, "files", property(lambda path: files))
        yield proxy


@pytest.mark.fault(
    "object storage answers 429 or 5xx, cuts connections, or does not answer, for seconds",
    "its clients try again with longer and longer pauses; the first is said, all are counted",
    0,
)
@pytest.mark.parametrize("fault", ["429", "500", "SlowDown", "cut", "silent"])
def test_a_short_outage_is_not_seen_but_counted(proxy, service, fault, caplog):
    path = place(service) / f"short-{fault}" / "a"
    for ask, answer in ((lambda: path.write_bytes(b"1"), 1), (path.read_bytes, b"1"), (path.is_file, True)):
        proxy.faults = [fault] * 2
        assert ask() == answer
        assert not proxy.faults
    assert RETRIES.total >= 3  # of six; aiohttp repeats a GET that is cut by itself
    [said] = caplog.records
    assert said.getMessage().startswith("object storage: a request failed and is tried again (")
    RETRIES.say()
    assert f"{RETRIES.total} requests in all failed and were tried again" in caplog.text


@pytest.mark.fault(
    "object storage is slow: it answers late, or a byte at a time",
    "what comes within 15 s a byte, and 150 s in all, is waited for; after that it is tried again",
    0,
)
def test_a_slow_answer_is_waited_for_and_one_that_takes_too_long_is_tried_again(
    proxy, service, monkeypatch, caplog
):
    path = place(service) / "slow" / "a"
    proxy.late_seconds = SILENT_SECONDS / 2
    proxy.faults = ["late"] * 2
    path.write_bytes(b"1234567890")
    proxy.trickle_seconds = 0.01
    proxy.faults = ["trickle"] * 2
    assert path.read_bytes() == b"1234567890"
    assert RETRIES.total == 0

    proxy.trickle_seconds = SILENT_SECONDS / 2
    monkeypatch.setattr(storage_requests, "_SECONDS", 2 * SILENT_SECONDS)
    proxy.faults = ["trickle"] * 2  # s3fs asks for the size first
    assert path.read_bytes() == b"1234567890"
    before = RETRIES.total
    assert 1 <= before <= 2
    assert f"tried again ({path}: FSTimeoutError" in caplog.text
    started = time.monotonic()
    proxy.always = "trickle"
    with pytest.raises(TransientError, match=f"^{path}: object storage does not answer"):
        path.read_bytes()
    assert 3 * 2 * SILENT_SECONDS < time.monotonic() - started < 10
    assert RETRIES.total == before + 2


@pytest.mark.fault(
    "object storage does not answer for longer (half a minute; arrays of checkpoints: minutes)",
    "ends with the address, and is never taken for an empty directory; while metrics are "
    "written: said once, kept and written later",
    75,
)
@pytest.mark.parametrize("fault", ["503", "cut", "silent"])
def test_a_long_outage_is_an_error_that_a_restart_mends_and_never_a_no(proxy, service, fault, monkeypatch):
    path = place(service) / f"long-{fault}" / "a"
    path.write_bytes(b"1")
    (path.parent / "large").write_bytes(bytes(5 << 20))
    opened = (path.parent / "large").open("rb")
    proxy.always = fault
    if fault == "silent":
        monkeypatch.setattr(storage_requests, "_SECONDS", SILENT_SECONDS / 2)
    for ask in (path.exists, path.read_bytes, path.unlink, path.parent.rmtree):
        with pytest.raises(TransientError, match=f"^{path.parent}.*object storage does not answer") as caught:
            ask()
        assert caught.value.exit_code == ExitCode.TRANSIENT
    with pytest.raises(TransientError):
        list(path.parent.iterdir())
    with pytest.raises(TransientError):
        opened.read()
    with pytest.raises(TransientError):
        path.write_bytes(b"2")
    proxy.always = None
    monkeypatch.setattr(storage_requests, "_SECONDS", 150)
    assert path.read_bytes() == b"1"


def test_inputs_in_a_storage_that_does_not_answer_are_not_missing(proxy, service, monkeypatch, caplog):
    folder = place(service) / "inputs"
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


def test_what_was_appended_in_an_outage_is_written_after_it(proxy, service, caplog):
    folder = place(service) / "growing"
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


@pytest.mark.fault(
    "the credentials for object storage are missing, wrong, or expire while a run goes on",
    "told at once with how to log in; where they are known and may not do it: to check permissions",
    2,
)
@pytest.mark.parametrize(
    ("fault", "remedy"), [("401", "old or wrong: log in by `"), ("403", "check the bucket, its permissions")]
)
def test_credentials_that_expire_are_told_at_once_and_new_ones_go_on(proxy, service, fault, remedy, caplog):
    path = place(service) / f"expired-{fault}" / "a"
    path.write_bytes(b"1")
    before = RETRIES.total  # a connection that the server before left may have had to be made anew
    caplog.clear()
    proxy.always = fault
    for ask in (path.read_bytes, path.exists, lambda: path.write_bytes(b"2"), path.unlink):
        with pytest.raises(UserError, match=f"^{path} cannot be used .*{remedy}") as told:
            ask()
        assert told.value.exit_code == ExitCode.USER_ERROR
    assert RETRIES.total == before
    assert not caplog.records  # the one line of the error says it
    proxy.always = None
    assert path.read_bytes() == b"1"


def test_wrong_keys_of_s3_are_refused_with_a_remedy_that_works(s3, monkeypatch, capfd):
    """Against a server that knows its users, by the command, and then as the message says."""
    address = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region_name": "us-east-1"}
    iam = boto3.client("iam", **address)
    iam.create_user(UserName="trainer")
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="trainer", PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName="trainer")["AccessKey"]
    monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    run = f"{s3}/of-users"
    for key_id, secret in (("nobody", "x"), (key["AccessKeyId"], "x")):
        s3fs.S3FileSystem.clear_instance_cache()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with pytest.raises(
            UserError, match=r"old or wrong: .*set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY$"
        ):
            (place(run) / "a").write_text("1")
        assert main(["status", run]) == ExitCode.USER_ERROR
        [line] = capfd.readouterr().err.splitlines()
        assert line.startswith(f"t5lite status: {run}")
        assert "cannot be used" in line
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    (place(run) / "a").write_text("1")
    assert (place(run) / "a").read_text() == "1"
    s3fs.S3FileSystem.clear_instance_cache()


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


def test_what_no_client_tells_of_is_a_bug_as_it_is():
    """An error that was its own cause was followed for ever by whoever looked for the first one."""

    def request():
        raise ValueError("no JSON at all")

    with pytest.raises(ValueError, match="no JSON at all") as raised:
        requested("gs://bucket/x", request)
    assert raised.value.__cause__ is None


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
