"""File names of bytes that are no UTF-8: Latin-1 archives, damaged disks. Work on them is not lost."""

import json
import os
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from t5lite.cli.main import main
from t5lite.core.files import write_json

NAME = os.fsdecode(b"caf\xe9")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Texts in every kind of format, in files and a folder of such names."""
    folder = tmp_path / NAME
    folder.mkdir()
    for number, kind in enumerate([".txt", ".jsonl", ".tsv", ".csv"]):
        text = json.dumps({"text": f"text {number}"}) if kind == ".jsonl" else f"text\n\ntext {number}"
        (folder / f"{NAME}{kind}").write_text(text)
    (folder / f"{NAME}.jsonl").write_text('{"text": null}\n{"text": "text"}\n')
    pyarrow.parquet.write_table(pyarrow.table({"text": ["parquet " * 99]}), tmp_path / "a.parquet")
    writer = ArrayRecordWriter(str(tmp_path / "a.array_record"), "group_size:1")
    writer.write(b"record")
    writer.close()
    for kind in (".parquet", ".array_record"):
        (tmp_path / f"a{kind}").rename(folder / f"{NAME}{kind}")
    (folder / f"{NAME}.md").write_text("skipped")
    return folder


@pytest.mark.parametrize("pattern", ["", "/*.[!m]*"])
def test_prepare_reads_them_and_reports_them(folder, tmp_path, pattern, monkeypatch):
    output = tmp_path / f"out{NAME}"
    places = [f"--inputs={folder}{pattern}", f"--output={output}"]
    with (tmp_path / "stdout").open("w", encoding="utf-8") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)  # strict, as it is outside of tests
        assert main(["prepare", "text", *places, "--vocabulary=bytes", "--heldout-fraction=0"]) == 0
    report = json.loads((output / "prepare.json").read_text(encoding="utf-8"))
    assert report["stores"]["train"]["examples"] == 7
    assert report["config"]["inputs"] == [f"{folder}{pattern}"]
    assert report["inputs"]["lost"]["null"]["worst_files"] == {f"{folder}/{NAME}.jsonl": 1}
    assert report["inputs"]["skipped"] == ([] if pattern else [f"{folder}/{NAME}.md"])
    assert r"caf\udce9/caf\udce9.jsonl:1" in (tmp_path / "stdout").read_text(encoding="utf-8")
    assert main(["inspect-data", f"--store={output}/train", "--batches=1"]) == 0


def test_complaints_name_them(folder, tmp_path, capsys):
    (folder / f"{NAME}.jsonl").write_text("nonsense")
    arguments = [f"--inputs={folder}", f"--output={tmp_path}/out", "--vocabulary=bytes"]
    assert main(["prepare", "text", *arguments]) == 2
    assert "caf\\udce9.jsonl:1 is not valid JSON" in capsys.readouterr().err


def test_json_gives_them_back(tmp_path):
    write_json(tmp_path / "a.json", {"path": NAME, "ü": "\U0001f600"})
    content = (tmp_path / "a.json").read_bytes()
    assert b"caf\\udce9" in content
    assert json.loads(content) == {"path": NAME, "ü": "\U0001f600"}
