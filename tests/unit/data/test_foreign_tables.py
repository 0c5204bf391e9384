"""Tables as other programs write them are read as they were meant, or refused with a remedy that works."""

import csv
import io
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.data.reading.tally import Tally, messages
from t5lite.data.reading.text_files import read_pairs, read_texts

SURE = [('say "hi", you', "b")]
"""In each dialect it is written so that another cannot read it."""
texts = st.text(st.sampled_from("ab \"\\,;\t'\n"), min_size=1, max_size=8)
tables = st.lists(st.tuples(texts, texts), max_size=5)


def pairs(path, content, *, columns=("inputs", "targets")) -> tuple[list[tuple[str, str]], dict[str, int]]:
    path.write_text(content, newline="")
    tally = Tally()
    found = list(read_pairs([path], inputs_field=columns[0], targets_field=columns[1], tally=tally))
    return found, {label: counts["records"] for label, counts in tally.report().items()}


@settings(max_examples=60, deadline=None)
@given(
    rows=tables,
    dialect=st.sampled_from(
        [(".csv", ",", csv.QUOTE_ALL), (".csv", ",", csv.QUOTE_MINIMAL), (".tsv", "\t", csv.QUOTE_ALL)]
    ),
)
def test_quotes_may_be_escaped_by_a_backslash(tmp_path_factory, rows, dialect):
    kind, separator, quoting = dialect
    rows = [*SURE, *rows]
    stream = io.StringIO()
    writer = csv.writer(
        stream,
        delimiter=separator,
        quoting=quoting,
        doublequote=False,
        escapechar="\\",
        lineterminator="\n",
    )
    writer.writerows([("inputs", "targets"), *rows])
    path = tmp_path_factory.getbasetemp() / f"escaped{kind}"
    assert pairs(path, stream.getvalue()) == (rows, {})


@settings(max_examples=60, deadline=None)
@given(rows=tables)
def test_spaces_may_stand_before_cells(tmp_path_factory, rows):
    rows = [*SURE, *rows]
    lines = [", ".join('"' + text.replace('"', '""') + '"' for text in row) for row in rows]
    path = tmp_path_factory.getbasetemp() / "spaces.csv"
    assert pairs(path, "\n".join(["inputs, targets", *lines])) == (rows, {})


def test_one_odd_row_does_not_make_a_dialect(tmp_path):
    rows = [f'"row {number} ""so"", it is",\\ {number}' for number in range(9)]
    content = "\n".join(["inputs,targets", *rows, '"say \\"hi\\", you",b', '"C:\\",d'])
    found, counts = pairs(tmp_path / "a.csv", content)
    assert found[0] == ('row 0 "so", it is', "\\ 0")
    assert found[-1] == ("C:\\", "d")
    assert counts == {"quotes": 1}


@pytest.mark.parametrize("rows", [['"a "b" c",d'] * 3, ['"a" ,b'] * 3, ["x,y", '"open,z', '"a"b,c']])
def test_a_table_that_loses_most_rows_is_refused_whatever_the_reason(tmp_path, rows):
    with pytest.raises(
        DataError, match=r"a\.csv:\d and \d of 3 rows in all .*quote.*not escaped by a backslash"
    ):
        pairs(tmp_path / "a.csv", "\n".join(["inputs,targets", *rows]))


def test_a_first_row_that_is_lost_is_no_header(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv:1, the first row, has a quote out of place"):
        pairs(tmp_path / "a.csv", '"inputs"x,targets\ninputs,targets\na,b\n')


@pytest.mark.parametrize("field", ["text", "1"])
@pytest.mark.parametrize("separator", [";", "|"])
def test_another_separator_is_named_and_the_command_converts_it(tmp_path, field, separator):
    path = tmp_path / "a.csv"
    path.write_text(f'\ufeff"id"{separator}text\n1{separator}"a{separator} b, ""c"" ü"\n', encoding="utf-8")
    with pytest.raises(
        DataError, match=re.escape(f"a.csv:1 seems to be separated by '{separator}'")
    ) as refused:
        list(read_texts([path], field=field))
    command = str(refused.value).partition("convert it: ")[2]
    for name, value in (
        ("python -c", f"{sys.executable} -c"),
        ("OLD", tmp_path / "a"),
        ("NEW", tmp_path / "b"),
    ):
        command = command.replace(name, str(value))
    subprocess.run(command, shell=True, check=True)
    assert list(read_texts([tmp_path / "b.csv"]))[-1] == f'a{separator} b, "c" ü'


@pytest.mark.parametrize(("name", "separator", "right"), [("a.csv", "\t", "b.tsv"), ("a.tsv", ",", "b.csv")])
def test_a_file_of_the_other_type_is_to_be_renamed(tmp_path, name, separator, right):
    (tmp_path / name).write_text(f"id{separator}text\n1{separator}a\n")
    with pytest.raises(DataError, match=rf"seems to be separated by .*else name the file \{right[1:]}$"):
        list(read_texts([tmp_path / name]))
    (tmp_path / name).rename(tmp_path / right)
    assert list(read_texts([tmp_path / right])) == ["a"]


@pytest.mark.parametrize(
    ("first", "remedy"), [("sep=,", "delete it$"), ("sep=;", "delete it, and convert it: ")]
)
def test_the_line_of_excel_is_no_row(tmp_path, first, remedy):
    for field in ("text", "0"):
        path = tmp_path / "a.csv"
        path.write_text(f"{first}\nid,text\n")
        with pytest.raises(
            DataError, match=rf"a\.csv:1 is '{first}', which is for Excel, not a row; {remedy}"
        ):
            list(read_texts([path], field=field))


LABELS = "".join(f"sentence {number},{number % 2}\n" for number in range(8))


@pytest.mark.parametrize(
    ("header", "rest", "said"),
    [
        ("sentence,label\n", LABELS, "'sentence', 'label'"),
        ("The sentence,The label\n", LABELS, "'The sentence', 'The label'"),
        ("0,1\n", LABELS, "'0', '1'"),
        ("en,es\n", "one word,una palabra\ntwo,dos\n", "'en', 'es'"),
        ("", LABELS, None),
        ("", "One word,una palabra\ntwo words,dos palabras\n", None),
        ("", "one,uno\n", None),
        (",label\n", LABELS, None),
    ],
)
def test_a_first_row_that_may_be_a_header_is_said(tmp_path, header, rest, said):
    path = tmp_path / "a.csv"
    path.write_text(header + rest)
    tally = Tally()
    numbered = list(read_pairs([path], inputs_field="0", targets_field="1", tally=tally))
    assert len(numbered) == (header + rest).count("\n")
    lines = messages(tally.report())
    assert [f"(first: {path}:1, {said}); if it is one, name the columns by it" in line for line in lines] == (
        [True] if said else []
    )
    if said and header != "0,1\n":
        names = header.strip().split(",")
        named = list(read_pairs([path], inputs_field=names[0], targets_field=names[1]))
        assert named == numbered[1:]
