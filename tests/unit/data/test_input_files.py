import json
import os
import uuid

import fsspec
import pytest

from t5lite.core.errors import ConfigError, DataError, UserError
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


def test_what_spark_leaves_behind_is_no_data(tmp_path):
    make(tmp_path, "out/part-0.txt", "out/_temporary/0/part-0.txt", "out/_SUCCESS", "out/.part-0.txt.crc")
    make(tmp_path, "out/.staging/part-1.txt", "out/_draft.txt")
    found = find_input_files([tmp_path])
    assert names(found, tmp_path) == ["out/part-0.txt"]
    assert [path.rpartition("/")[2] for path in found.skipped] == ["_SUCCESS", "_draft.txt", "_temporary"]
    for pattern in ("*/*", "**/*.txt", "**"):
        assert names(find_input_files([f"{tmp_path}/{pattern}"]), tmp_path) == ["out/part-0.txt"]
    with pytest.raises(DataError, match="no file matches"):
        find_input_files([f"{tmp_path}/out/p*/**/*.txt"])
    for pattern, spelt_out in (
        ("out/_temp*/0/*.txt", "out/_temporary/0/part-0.txt"),
        ("out/_d*", "out/_draft.txt"),
    ):
        assert names(find_input_files([f"{tmp_path}/{pattern}"]), tmp_path) == [spelt_out]
    assert names(find_input_files([tmp_path / "out/_temporary"]), tmp_path) == ["out/_temporary/0/part-0.txt"]


def test_links_are_followed_once_and_those_to_nothing_named(tmp_path):
    make(tmp_path, "texts/a.txt", "texts/deep/b.txt", "far/c.txt")
    (tmp_path / "texts/z_far").symlink_to(tmp_path / "far")
    (tmp_path / "texts/again").symlink_to(tmp_path / "far")
    (tmp_path / "texts/deep/up").symlink_to(tmp_path / "texts")
    (tmp_path / "texts/same.txt").symlink_to("a.txt")
    found = find_input_files([tmp_path / "texts"])
    assert names(found, tmp_path / "texts") == ["a.txt", "again/c.txt", "deep/b.txt"]
    assert names(find_input_files([f"{tmp_path}/texts/**/*.txt"]), tmp_path / "texts") == [
        "a.txt",
        "again/c.txt",
        "deep/b.txt",
    ]
    assert names(find_input_files([f"{tmp_path}/texts/z*/*.txt"]), tmp_path / "texts") == ["z_far/c.txt"]
    assert names(find_input_files([tmp_path / "far", tmp_path / "texts"]), tmp_path)[0] == "far/c.txt"
    for name, target in {"gone.txt": "nowhere", "more": "unmounted", "loop.txt": "loop.txt"}.items():
        link = tmp_path / "texts" / name
        link.symlink_to(target)
        for given in (link, tmp_path / "texts", f"{tmp_path}/texts/{name[:3]}*"):
            with pytest.raises(
                DataError, match=rf"{name} (is a link to {target}, which leads|has an unknown)"
            ):
                find_input_files([given])
        link.unlink()


def test_lfs_pointers_are_named_before_work(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    for name in ("a.txt", "a.jsonl.gz", "a.parquet"):
        (tmp_path / name).write_text(pointer)
        with pytest.raises(UserError, match=rf"{name} is a Git LFS pointer.*git lfs pull"):
            find_input_files([tmp_path / name])
    with pytest.raises(UserError, match="Git LFS pointer"):
        find_input_files([tmp_path])
    make(tmp_path / "texts", "a.txt")
    (tmp_path / "texts/picture.bin").write_text(pointer)  # of no matter
    assert find_input_files([tmp_path / "texts"]).num_bytes == 4


def test_empty_files_are_skipped_unless_there_is_nothing_else(tmp_path):
    make(tmp_path, "b.txt")
    empty = [tmp_path / name for name in ("a.txt", "a.parquet", "a.array_record", "a.jsonl.xz")]
    for path in empty:
        path.touch()
    found = find_input_files([*empty, tmp_path / "b.txt"])
    assert names(found, tmp_path) == ["b.txt"]
    assert found.skipped == tuple(map(str, empty))
    with pytest.raises(DataError, match=r"a\.txt, .*a\.array_record, … contain no text; check the inputs"):
        find_input_files(empty)


def test_damaged_folders_of_datasets(tmp_path):
    folder = make(tmp_path / "saved", "a.arrow")
    for content in ("{", "[]", "{}", '{"_data_files": [3]}', '{"_data_files": [{"filename": 3}]}'):
        (folder / "state.json").write_text(content)
        with pytest.raises(DataError, match=r"state\.json is damaged"):
            find_input_files([folder])
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../saved/a.arrow"}]}')
    with pytest.raises(DataError, match=r"state\.json points outside its folder, to '\.\./saved/a\.arrow'"):
        find_input_files([folder])
    (folder / "state.json").write_text('{"_data_files": [{"filename": "b.arrow"}]}')
    with pytest.raises(DataError, match=r"b\.arrow cannot be read \(No such file"):
        find_input_files([folder])


def test_a_glob_does_not_go_through_hidden_folders(tmp_path, monkeypatch):
    """They may be huge, or closed to the user: only those that are spelt out are opened."""
    for name in ("a", ".git", "_temporary"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("text")
    scandir = os.scandir

    def closed(folder):
        if str(folder).endswith(".git"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    assert find_input_files([f"{tmp_path}/**/*.txt"]).paths == (f"{tmp_path}/a/x.txt",)
    assert find_input_files([f"{tmp_path}/_temp*/x.txt"]).paths == (f"{tmp_path}/_temporary/x.txt",)
    with pytest.raises(DataError, match=r"\.git cannot be read \(Permission denied\)"):
        find_input_files([f"{tmp_path}/.*/x.txt"])
