"""The same records give the same texts, however they were written; what does not fit is counted."""

import csv
import gzip
import io
import json
import lzma
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.data.reading.lines import decode_lines
from t5lite.data.reading.tally import Loss, Tally, merged, messages
from t5lite.data.reading.text_files import read_pairs, read_texts

COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
LINE_ENDS = ("\n", "\r\n", "\r")
MARK = "\ufeff"
NO_LINE_ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1e"

characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=MARK) | st.sampled_from(
    '",\t\n ' + NO_LINE_ENDS
)
texts = st.text(characters, min_size=1, max_size=12).filter(str.strip)
records = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def read(path, **options) -> tuple[list[tuple[str, str]], Tally]:
    tally = Tally()
    return list(read_pairs([path], tally=tally, **options)), tally


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("laws")


def encode_rows(rows, *, separator, quoting):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator="\n")
    writer.writerows(rows)
    return stream.getvalue()


def uneven(content):
    return len({line.count("\t") for line in content.split("\n") if line.strip()}) > 1


@settings(max_examples=40, deadline=None)
@given(
    rows=records,
    ending=st.sampled_from(list(COMPRESS)),
    kind=st.sampled_from([".csv", ".tsv"]),
    line_end=st.sampled_from(LINE_ENDS),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    mark=st.sampled_from(["", MARK]),
    named=st.booleans(),
)
def test_rows_in_any_dialect(folder, rows, ending, kind, line_end, quoting, mark, named):
    # A row that is its header is taken for a repeated one.
    rows = [row for row in rows if row != ("inputs", "targets")] or [("1", "0")]
    header = [("inputs", "targets")] * named
    content = encode_rows([*header, *rows], separator=",\t"[kind == ".tsv"], quoting=quoting)
    # One that has as many columns in every line may as well be plain: nothing tells its quotes apart.
    assume(kind == ".csv" or '"' not in content or quoting == csv.QUOTE_ALL or uneven(content))
    path = folder / f"a{kind}{ending}"
    path.write_bytes(COMPRESS[ending]((mark + content.replace("\n", line_end)).encode()))
    fields = {} if named else {"inputs_field": "0", "targets_field": "1"}
    found, tally = read(path, **fields)
    assert found == rows
    # Without a header, any first row may look like one.
    assert set(tally.report()) <= (set() if named else {"first_row"})


@settings(max_examples=40, deadline=None)
@given(
    rows=records,
    ending=st.sampled_from(list(COMPRESS)),
    line_end=st.sampled_from(LINE_ENDS),
    mark=st.sampled_from(["", MARK]),
    escaped=st.booleans(),
)
def test_lines_of_json(folder, rows, ending, line_end, mark, escaped):
    lines = [
        json.dumps({"inputs": source, "id": 1, "targets": target}, ensure_ascii=escaped)
        for source, target in rows
    ]
    path = folder / f"a.jsonl{ending}"
    path.write_bytes(COMPRESS[ending]((mark + line_end.join(lines)).encode()))
    assert read(path)[0] == rows


@settings(max_examples=15, deadline=None)
@given(rows=records)
def test_formats_without_lines(folder, rows):
    objects = [{"inputs": source, "targets": target} for source, target in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), folder / "a.parquet")
    with pyarrow.ipc.new_stream(folder / "a.arrow", pyarrow.Table.from_pylist(objects).schema) as writer:
        writer.write_table(pyarrow.Table.from_pylist(objects))
    writer = ArrayRecordWriter(str(folder / "a.array_record"), "group_size:1")
    for each in objects:
        writer.write(json.dumps(each).encode())
    writer.close()
    for name in ("a.parquet", "a.arrow", "a.array_record"):
        assert read(folder / name)[0] == rows


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.text(characters.filter(lambda c: c != "\n"), max_size=12), st.sampled_from(LINE_ENDS)),
        max_size=8,
    ),
    block=st.integers(1, 9),
)
def test_lines_end_as_they_like_wherever_a_block_ends(lines, block):
    class Blocks(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, block))

    content = "".join(text + end for text, end in lines)
    expected = re.split("\r\n|\r|\n", content)[:-1]
    assert [line.text for line in decode_lines(Blocks(content.encode()), "a")] == expected
    assert [line.text for line in decode_lines(Blocks((content + "end").encode()), "a")] == [*expected, "end"]


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize("documents", ["paragraph", "line", "piece"])
def test_text_is_the_same_with_any_line_ends(tmp_path, documents, end):
    text = f"\ufeffone{NO_LINE_ENDS}x\ntwo\n\nthree\n"
    path = tmp_path / "a.txt"
    path.write_bytes(text.replace("\n", end).encode())
    first = f"one{NO_LINE_ENDS}x"
    expected = {
        "paragraph": [f"{first}\ntwo", "three"],
        "line": [first, "two", "three"],
        "piece": [f"{first}\ntwo\n\nthree"],
    }
    assert list(read_texts([path], txt_documents=documents)) == expected[documents]


def lost(path, content, **options):
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    found, tally = read(path, **options)
    return found, {label: counts["records"] for label, counts in tally.report().items()}


def test_a_number_is_a_place_where_there_is_no_header(tmp_path):
    content = "1\t0\n0\t0\n"
    rows = [("1", "0"), ("0", "0")]
    assert lost(tmp_path / "a.tsv", content, inputs_field="0", targets_field="1") == (rows, {})


def test_speech_that_goes_on_over_rows_is_no_cell(tmp_path):
    verses = [
        ('He taught them: "Blessed are the poor.', "Bienaventurados los pobres."),
        ('"Blessed are the meek.', '"Bienaventurados los mansos.'),
        ('Yours is the kingdom."', 'Vuestro es el reino."'),
        ('"You are the salt', '"Vosotros sois la sal'),
        ('of the earth."', 'de la tierra."'),
    ]
    content = "".join(f"{source}\t{target}\n" for source, target in verses)
    assert lost(tmp_path / "a.tsv", content, inputs_field="0", targets_field="1") == (verses, {})


def test_quotes_of_plain_text_stay_and_those_of_a_table_go(tmp_path):
    said = ['"Wait," she said.', '"Yes."', 'a 5" pipe', "no", '"Is it "so"?"']
    plain = "inputs\ttargets\n" + "".join(f"{text}\t{number}\n" for number, text in enumerate(said))
    assert [pair[0] for pair in lost(tmp_path / "plain.tsv", plain)[0]] == said
    # R's write.table quotes every string; MySQL's NULL and numbers stay bare.
    table = '"inputs"\t"targets"\n"one"\t1\nNA\t2\n"say ""so"" twice"\t3\n"a\tb\nc"\t4\n"last"\t5\n'
    assert lost(tmp_path / "table.tsv", table) == (
        [("one", "1"), ("NA", "2"), ('say "so" twice', "3"), ("a\tb\nc", "4"), ("last", "5")],
        {},
    )


@pytest.mark.parametrize(("kind", "separator"), [(".tsv", "\t"), (".csv", ",")])
def test_rows_that_do_not_fit_are_dropped_and_counted(tmp_path, kind, separator):
    rows = [
        "inputs,targets,note",
        "a,b,c",
        "one,two,three,four",  # a separator within a text that is not quoted
        "only",
        "e,f",
        "\ufeffinputs,targets,note",  # files put behind each other
        '"open,g,h',
        "i,j,k",
        '"l"x,m,n',
        "o,p,q",
        "",
        "r,s,t\udcff",
    ]
    if kind == ".tsv":
        rows += ['"""x""",y,z'] * 6
    found, counts = lost(
        tmp_path / f"a{kind}", "\n".join(rows).replace(",", separator), on_invalid_utf8="replace"
    )
    assert found[:5] == [("a", "b"), ("e", "f"), ("i", "j"), ("o", "p"), ("r", "s")]
    expected = [Loss.COLUMNS, Loss.NARROW, Loss.REPEATED_HEADER, Loss.QUOTES, Loss.INVALID_UTF8]
    assert counts == dict(zip([loss.label for loss in expected], [2, 1, 1, 2, 1], strict=True))


def test_a_table_whose_rows_do_not_fit_its_header_is_refused(tmp_path):
    """As R's write.table makes them: the names of the rows have no header."""
    (tmp_path / "a.csv").write_text('inputs,targets\n"1",a,b\n"2",c,d\n')
    with pytest.raises(DataError, match=r"a\.csv:2 and 2 of 2 rows in all have more than the 2 columns"):
        read(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv:1 has 2 columns, column 2 .*separate them by ','"):
        read(tmp_path / "a.csv", inputs_field="0", targets_field="2")


def test_a_stray_quote_costs_one_line_however_far_the_next_is(tmp_path):
    rows = [(f"{number}", "text") for number in range(3000)]
    content = 'inputs,targets\n"stray,text\n' + "".join(f"{a},{b}\n" for a, b in rows)
    assert lost(tmp_path / "a.csv", content) == (rows, {"quotes": 1})


@pytest.mark.parametrize("kind", [".jsonl", ".parquet", ".arrow", ".array_record"])
def test_null_is_dropped_and_counted_in_every_format(tmp_path, kind):
    rows = [
        {"inputs": "a", "targets": "b"},
        {"inputs": None, "targets": "c"},
        {"inputs": "d", "targets": None},
    ]
    path = tmp_path / f"a{kind}"
    table = pyarrow.Table.from_pylist(rows)
    if kind == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif kind == ".arrow":
        with pyarrow.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    elif kind == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for row in rows:
            writer.write(json.dumps(row).encode())
        writer.close()
    found, tally = read(path)
    assert found == [("a", "b")]
    (counts,) = tally.report().values()
    assert (counts["records"], counts["worst_files"]) == (2, {str(path): 2})
    (line,) = messages(tally.report())
    assert line.startswith(f"records dropped because their text is null: 2 (first: {path}")


def test_empty_shards_of_every_kind_are_listed(tmp_path):
    empty = {f"zero.txt{ending}": b"" for ending in COMPRESS}
    empty |= {f"nothing.jsonl{ending}": compress(b"") for ending, compress in COMPRESS.items()}
    empty |= {
        "blank.txt": b"\n \r\r\n",
        "blank.jsonl": b"\n\n",
        "header.tsv": b"text\n",
        "header.csv": b"text",
    }
    for name, content in empty.items():
        (tmp_path / name).write_bytes(content)
    table = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    pyarrow.parquet.write_table(table.drop_columns(["text"]), tmp_path / "frame.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": [None]}), tmp_path / "nulls.parquet")
    with pyarrow.ipc.new_stream(tmp_path / "rows.arrow", table.schema):
        pass
    ArrayRecordWriter(str(tmp_path / "rows.array_record"), "group_size:1").close()
    paths = sorted(str(path) for path in tmp_path.iterdir())
    (tmp_path / "full.txt").write_text("text")
    tally = Tally()
    assert list(read_texts([*paths, tmp_path / "full.txt"], tally=tally)) == ["text"]
    assert tally.empty_files == paths
    with pytest.raises(
        DataError,
        match=r"blank\.jsonl, .*, … contain no text .*text is null: 1 ",
    ):
        list(read_texts(paths))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(tmp_path, encoding):
    mark = MARK if encoding.endswith("be") else ""
    for name in ("a.txt", "a.jsonl", "a.csv"):
        (tmp_path / name).write_bytes(f"{mark}text\n".encode(encoding))
        with pytest.raises(DataError, match=rf"is {encoding[:6].upper()}, by its byte-order mark; .*iconv"):
            list(read_texts([tmp_path / name]))
    with pytest.raises(DataError, match="is UTF-"):
        list(read_texts([tmp_path / "a.txt"], txt_documents="piece"))


def test_reports_of_single_files_add_up_to_that_of_all():
    """As the offline pipelines add up what their workers counted."""
    counted = [("a.csv", Loss.NULL, 2), ("b.csv", Loss.NULL, 5), ("b.csv", Loss.COLUMNS, 1)]
    together, single = Tally(), {"a.csv": Tally(), "b.csv": Tally()}
    for path, loss, number in counted:
        for line in range(number):
            together.count(loss, path, f"{path}:{line + 1}")
            single[path].count(loss, path, f"{path}:{line + 1}")
    report = merged(tally.report() for tally in single.values())
    assert report == together.report()
    null, columns, skipped = messages(report, ["a", "b", "c", "d"])
    assert null.endswith("is null: 7 (first: a.csv:1; of 2 files, most of b.csv: 5)")
    assert columns.endswith(f": 1 (first: b.csv:1); {Loss.COLUMNS.remedy}")
    assert skipped.endswith("met before: 4 (a, b, c, …)")
