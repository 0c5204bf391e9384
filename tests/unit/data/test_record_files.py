import json
import uuid

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from t5lite.core.errors import DataError
from t5lite.data.reading.text_files import read_pairs, read_texts

ROWS = [{"text": "one", "other": "uno", "n": 1}, {"text": "zwei ü", "other": "dos", "n": 2}]


def parquet(path, table):
    pyarrow.parquet.write_table(table, path)
    return path


def arrow(path, table):
    with pyarrow.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)
    return path


def array_record(path, records):
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return path


def example(features):
    """Encode a tf.train.Example of byte strings; lengths below 128."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    entries = [
        field(1, field(1, name.encode()) + field(2, field(1, field(1, value))))
        for name, value in features.items()
    ]
    return field(1, b"".join(entries))


@pytest.mark.parametrize("kind", [".parquet", ".arrow"])
def test_columns(tmp_path, kind):
    write = parquet if kind == ".parquet" else arrow
    path = write(tmp_path / f"a{kind}", pyarrow.Table.from_pylist(ROWS))
    assert list(read_texts([path])) == ["one", "zwei ü"]
    assert list(read_pairs([path], inputs_field="other", targets_field="text")) == [
        ("uno", "one"),
        ("dos", "zwei ü"),
    ]
    with pytest.raises(DataError, match=rf"a\{kind} has no column 'txt'; it has 'text', 'other', 'n'"):
        list(read_texts([path], field="txt"))
    with pytest.raises(DataError, match=r"column 'n' is of type int64, not a string"):
        list(read_texts([path], field="n"))


def test_dictionaries_bytes_and_nulls(tmp_path):
    columns = {
        "words": pyarrow.array(["a", "b", None]).dictionary_encode(),
        "bytes": pyarrow.array([b"a", b"\xff", b""]),
    }
    path = parquet(tmp_path / "a.parquet", pyarrow.table(columns))
    assert list(read_texts([path], field="words")) == ["a", "b"]
    with pytest.raises(DataError, match=r"a\.parquet row 2 field 'bytes' is not valid UTF-8"):
        list(read_texts([path], field="bytes"))
    assert list(read_texts([path], field="bytes", on_invalid_utf8="replace")) == ["a", "\ufffd", ""]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.array_record"])
def test_damaged_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"no such thing")
    with pytest.raises(DataError, match=rf"{name} is damaged or "):
        list(read_texts([tmp_path / name]))


def test_array_record_of_json_examples_and_texts(tmp_path):
    as_json = [json.dumps(row).encode() for row in ROWS]
    as_example = [example({"text": b"drei", "other": b"tres"})]
    path = array_record(tmp_path / "a.array_record-00000-of-00001", [*as_json, *as_example])
    counts = []
    assert list(read_texts([path], progress=counts.append)) == ["one", "zwei ü", "drei"]
    assert sum(counts) == path.stat().st_size
    assert [pair[0] for pair in read_pairs([path], inputs_field="other", targets_field="text")][2] == "tres"
    with pytest.raises(DataError, match=r"record 1 has no field 'n'; it has 'text', 'other'"):
        list(read_texts([array_record(tmp_path / "b.array_record", as_example)], field="n"))
    plain = array_record(tmp_path / "c.array_record", ["plain ü".encode()])
    assert list(read_texts([plain])) == ["plain ü"]
    with pytest.raises(DataError, match="record 1 is neither a JSON object"):
        list(read_pairs([plain]))


@pytest.mark.parametrize("kind", [".parquet", ".array_record", ".jsonl"])
def test_addresses(tmp_path, kind):
    address = f"memory://{uuid.uuid4().hex}/a{kind}"
    local = tmp_path / f"a{kind}"
    if kind == ".parquet":
        parquet(local, pyarrow.Table.from_pylist(ROWS))
    elif kind == ".array_record":
        array_record(local, [json.dumps(row).encode() for row in ROWS])
    else:
        local.write_text("\n".join(map(json.dumps, ROWS)))
    with fsspec.open(address, "wb") as stream:
        stream.write(local.read_bytes())
    assert list(read_texts([address])) == ["one", "zwei ü"]
