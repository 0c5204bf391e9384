"""Records that lack a field, and targets that are numbers, in every format of records."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from t5lite.core.errors import DataError
from t5lite.core.protobuf import field
from t5lite.data.reading.tally import Tally, messages
from t5lite.data.reading.text_files import read_pairs, read_texts

KINDS = (".jsonl", ".parquet", ".arrow", ".array_record")


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".arrow":
        table = pyarrow.Table.from_pylist(rows)
        with pyarrow.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    else:
        records([json.dumps(row).encode() for row in rows], path)
    return path


def records(contents, path):
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for content in contents:
        writer.write(content)
    writer.close()
    return path


def counted(path, read, **options):
    tally = Tally()
    found = list(read([path], tally=tally, **options))
    return found, messages(tally.report())


@pytest.mark.parametrize("kind", [".jsonl", ".array_record"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_record_without_the_field_is_dropped_and_counted_wherever_it_stands(tmp_path, kind, first):
    rows = [{"text": "a"}, {"text": None}, {"text": "b"}]
    rows.insert(first, {"content": "c"})
    found, lines = counted(write(tmp_path / f"a{kind}", rows), read_texts)
    assert found == ["a", "b"]
    assert [line.partition(" (")[0] for line in lines] == [
        "records dropped because their text is null: 1",
        "records dropped because they lack the field: 1",
    ]


@pytest.mark.parametrize("kind", [".jsonl", ".array_record"])
def test_a_file_most_of_whose_records_lack_a_field_is_refused(tmp_path, kind):
    rows = [{"text": "a"}, {"content": "b", "id": 1}, {"content": "c"}]
    path = write(tmp_path / f"a{kind}", rows)
    message = (
        r"2 and 2 of 3 records have no field 'text'; it has 'content', 'id': name one of them, or rename it"
    )
    with pytest.raises(DataError, match=message):
        list(read_texts([path]))
    assert list(read_texts([path], field="content")) == ["b", "c"]


def test_it_is_refused_after_a_thousand_records(tmp_path):
    rows = [{"text": "a"}] * 499 + [{"content": "b"}] * 501 + [{"text": "a"}] * 1000
    read = read_texts([write(tmp_path / "a.jsonl", rows)])
    assert [next(read) for _ in range(499)] == ["a"] * 499
    with pytest.raises(DataError, match="500 and 501 of 1,000 records have no field 'text'"):
        next(read)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [[0, 1, 12], [True, False, True], [-1, 2**62, 0]])
def test_targets_may_be_integers_or_booleans(tmp_path, kind, labels):
    rows = [{"inputs": "a", "targets": label} for label in [*labels, None]]
    path = write(tmp_path / f"a{kind}", rows)
    found, lines = counted(path, read_pairs)
    assert found == [("a", str(label)) for label in labels]
    assert lines[-1] == f"targets that are integers or booleans, taken as text: 3 (first: {place(path)})"


def place(path):
    return {".jsonl": f"{path}:1", ".array_record": f"{path} record 1"}.get(path.suffix, f"{path} row 1")


@pytest.mark.parametrize("kind", KINDS)
def test_floats_and_inputs_that_are_numbers_are_refused(tmp_path, kind):
    path = write(tmp_path / f"a{kind}", [{"inputs": "a", "targets": 1.5}])
    with pytest.raises(
        DataError, match=r"'targets' is of type (float|double), .* string or an integer, since .*spellings"
    ):
        list(read_pairs([path]))
    path = write(tmp_path / f"b{kind}", [{"inputs": 1, "targets": "a"}])
    with pytest.raises(DataError, match=r"'inputs' is of type int(64)?, not a string; convert it$"):
        list(read_pairs([path]))
    with pytest.raises(DataError, match=r"'inputs' is of type int(64)?, not a string; convert it$"):
        list(read_texts([path], field="inputs"))


@pytest.mark.parametrize("packed", [True, False])
def test_labels_of_a_tensorflow_example(tmp_path, packed):
    def example(label):
        number = field(1, label % 2**64)
        if packed:
            number = field(1, number[1:])
        features = {"inputs": field(1, field(1, b"a")), "targets": field(3, number)}
        return field(1, b"".join(field(1, field(1, k.encode()) + field(2, v)) for k, v in features.items()))

    path = records([example(label) for label in (0, 1, 300, -1)], tmp_path / "a.array_record")
    assert [target for _, target in read_pairs([path])] == ["0", "1", "300", "-1"]
