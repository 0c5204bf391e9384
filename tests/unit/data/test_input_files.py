import json
import uuid

import fsspec
import pytest

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.reading.input_files import RECORD_FORMATS, find_input_files, input_format


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("four")
    return folder


def names(found, folder):
    return [path.removeprefix(f"{folder}/") for path in found.paths]


def test_files_folders_and_globs(tmp_path):
    make(
        tmp_path,
        "b.txt",
        "a/x.jsonl.gz",
        "a/deep/y.PARQUET",
        ".hidden.txt",
        "a/.git/z.txt",
        "notes.md",
        "c.txt.bz2",
    )
    (tmp_path / "empty.txt").touch()
    found = find_input_files([tmp_path])
    assert names(found, tmp_path) == ["a/deep/y.PARQUET", "a/x.jsonl.gz", "b.txt"]
    assert found.num_bytes == 12
    assert [path.rpartition("/")[2] for path in found.skipped] == [
        "c.txt.bz2",
        "notes.md",
        "empty.txt",
    ]
    assert names(find_input_files([tmp_path / "b.txt"]), tmp_path) == ["b.txt"]
    assert names(find_input_files([f"{tmp_path}/**/*.jsonl*"]), tmp_path) == ["a/x.jsonl.gz"]
    assert names(find_input_files([tmp_path, tmp_path / "b.txt"]), tmp_path).count("b.txt") == 1


def test_what_cannot_be_used_is_refused_before_work(tmp_path):
    make(tmp_path, "a.txt", "a.pdf", "docs/a.md")
    for given, message in (
        (["missing.txt"], "missing.txt does not exist; check the path"),
        ([tmp_path / "*.parquet"], r"no file matches .*parquet; check the pattern"),
        ([tmp_path / "a.pdf"], r"a\.pdf has an unknown type; allowed: \.txt"),
        (
            [tmp_path / "docs"],
            r"docs has no files of a known type \(1 of other types, such as .*a\.md\)",
        ),
        (["nosuchscheme://bucket/a.txt"], r"nosuchscheme://bucket/a\.txt cannot be opened"),
    ):
        with pytest.raises(DataError, match=message):
            find_input_files(given)
    with pytest.raises(ConfigError, match="no input files"):
        find_input_files([])
    with pytest.raises(DataError, match=r"a\.txt has no fields to take pairs from"):
        find_input_files([tmp_path / "a.txt"], allowed=RECORD_FORMATS)


def test_types_by_name():
    kinds = {
        "a.txt.xz": ".txt",
        "c4-train.00000-of-01024.json.gz": ".jsonl",
        "wiki-train.array_record-00003-of-00010": ".array_record",
        "train-00000-of-00010.parquet": ".parquet",
        "a.ndjson.zst": ".jsonl",
    }
    assert {name: input_format(name) for name in kinds} == kinds
    for name in ("a.parquet.gz", "a", "a.gz", "a.pdf"):
        with pytest.raises(DataError, match="unknown type"):
            input_format(name)


def test_folders_that_datasets_saved_are_read_in_their_order(tmp_path):
    folder = make(tmp_path / "saved", "b.arrow", "a.arrow", "cache-1.arrow", "dataset_info.json")
    entries = [{"filename": "b.arrow"}, {"filename": "a.arrow"}]
    (folder / "state.json").write_text(json.dumps({"_data_files": entries}))
    assert names(find_input_files([folder]), folder) == ["b.arrow", "a.arrow"]
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    with pytest.raises(DataError, match=r"holds the splits train, test of a dataset; .*/train"):
        find_input_files([tmp_path])


def test_addresses(tmp_path):
    bucket = f"memory://{uuid.uuid4().hex}"
    for name in ("a.txt", "deep/b.jsonl", "deep/c.md"):
        with fsspec.open(f"{bucket}/{name}", "w") as stream:
            stream.write("four")
    assert names(find_input_files([bucket]), bucket) == ["a.txt", "deep/b.jsonl"]
    assert names(find_input_files([f"{bucket}/**/*.jsonl"]), bucket) == ["deep/b.jsonl"]
    found = find_input_files([f"{bucket}/a.txt"])
    assert (names(found, bucket), found.num_bytes) == (["a.txt"], 4)
