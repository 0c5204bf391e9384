"""``core.files`` and a metrics file in buckets."""

import contextlib

import pytest

from t5lite.core import files
from t5lite.core.errors import UserError
from t5lite.core.storage.addresses import place
from t5lite.core.storage.remote_path import RemotePath
from t5lite.training.metrics_log import MetricsLog, read_metrics


@pytest.fixture
def folder(bucket):
    return place(bucket)


def test_files_are_put_and_replaced(folder):
    files.make_directory(folder)
    assert not folder.exists()
    for value in (1, 2):
        files.write_json(folder / "config.json", {"é": value})
        assert (folder / "config.json").read_text() == f'{{\n  "é": {value}\n}}\n'


def test_a_growing_file_is_put_at_its_end_or_as_the_part_that_there_is(folder):
    path = folder / "outputs.txt"
    with files.growing_file(path) as stream:
        stream.write("one\n")
        assert not path.exists()
    assert path.read_text() == "one\n"
    with contextlib.suppress(ZeroDivisionError), files.growing_file(folder / "other") as stream:
        stream.write("half\n")
        raise ZeroDivisionError
    assert not (folder / "other").exists()
    assert files.part_of(folder / "other").read_text() == "half\n"
    with contextlib.suppress(ZeroDivisionError), files.growing_file(folder / "empty"):
        raise ZeroDivisionError
    assert not files.part_of(folder / "empty").exists()


def test_of_two_who_write_an_object_the_first_to_end_has_the_name(folder):
    path = folder / "outputs.jsonl"

    def write_while_another_does():
        with files.growing_file(path) as second:
            second.write("second\n")
            with files.growing_file(path) as first:
                first.write("first\n")

    with pytest.raises(UserError, match=r"was written by another process meanwhile; .*outputs.jsonl.part$"):
        write_while_another_does()
    assert path.read_text() == "first\n"
    assert files.part_of(path).read_text() == "second\n"


def test_of_a_directory_that_fails_nothing_is_put(folder):
    with contextlib.suppress(ZeroDivisionError), files.new_directory(folder) as local:
        files.write_text(local / "a", "a")
        raise ZeroDivisionError
    assert not folder.exists()


def test_what_cannot_be_written_is_told_before_long_work(folder):
    missing = folder.bucket.with_name("no-such-bucket") / "run"
    for check in (
        files.check_place,
        files.check_new_file,
        files.check_new_directory,
        lambda path: files.write_text(path, "a"),
    ):
        with pytest.raises(UserError, match=r"there is no bucket (gs|s3)://no-such-bucket"):
            check(missing)
    files.write_text(folder / "file", "a")
    for check in (files.check_place, files.check_new_directory):
        with pytest.raises(UserError, match="is a file"):
            check(folder / "file")
    with pytest.raises(UserError, match="is a directory"):
        files.check_new_file(folder)


def test_what_is_written_and_what_is_read_are_apart(folder, tmp_path):
    files.check_apart(folder / "out", [str(folder / "in"), str(tmp_path), tmp_path, f"{folder / 'out'}2"])
    files.check_apart(tmp_path, [str(folder)])
    files.check_apart(folder / "out", ["https://example.org/a.txt", f"{folder}/in/*[0-9].txt"])  # only read
    for read, how in ((folder / "out", "is"), (folder / "out" / "x", "holds"), (folder, "lies in")):
        with pytest.raises(UserError, match=f"{how} {folder}"):
            files.check_apart(folder / "out", [str(read)])


def test_a_bucket_of_which_only_the_objects_may_be_seen_is_written_to(folder, monkeypatch):
    """As with Google's role Storage Object Admin; and while it is empty, nothing tells that it is there."""
    scheme = str(folder).partition("://")[0]
    folder.files.mkdir("empty-bucket")
    monkeypatch.setattr(RemotePath, "exists", lambda path: False)
    for there in (folder, place(f"{scheme}://empty-bucket/run")):
        files.check_place(there)
    with pytest.raises(UserError, match="there is no bucket"):
        files.check_place(place(f"{scheme}://no-such-bucket/run"))


def test_the_metrics_that_a_run_begins_with_are_put_at_once(folder, monkeypatch):
    """Each evaluation that a run makes is put when it is made; what another run has made is there already."""
    earlier = [{"kind": "eval", "step": step, "evaluation": "heldout"} for step in range(1, 10)]
    write_bytes, put = RemotePath.write_bytes, []
    monkeypatch.setattr(RemotePath, "write_bytes", lambda *words: (put.append(words), write_bytes(*words)))
    log = MetricsLog(folder / "run", start_step=9, earlier=earlier)
    assert len([path for path, _ in put if path.name.endswith(".jsonl")]) == 1
    assert read_metrics(log.path) == earlier
    log.write("eval", 10, {"evaluation": "heldout"})
    assert len(read_metrics(log.path)) == 10
    log.close()
