"""Answers in SQuAD's form, as files give them: where they stand, what is none, what stands elsewhere."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.data.reading.tally import messages
from t5lite.data.stores.pair_store import PairStore
from t5lite.tasks.answer_places import answer_places
from t5lite.tasks.preparing import PrepareTaskConfig, prepare_task

CONTEXT = "😀 Ada went to Łódź."


def row(*answers: tuple[str, int], question: str = "where?") -> dict:
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    return {"question": question, "context": CONTEXT, "answers": {"text": texts, "answer_start": starts}}


def prepared(tmp_path: Path, file: Path, **options) -> tuple[list[dict], dict]:
    config = PrepareTaskConfig(
        inputs=(str(file),), output=str(tmp_path / "out"), task="answer-spans", vocabulary="bytes",
        heldout_fraction=0, overwrite=True, **options,
    )  # fmt: skip
    report = prepare_task(config)
    return PairStore.open(tmp_path / "out" / "train").labels(wanted=("answers",)) or [], report


def as_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def test_lists_objects_and_columns_of_one_answer_are_the_same_places(tmp_path):
    rows = [row(("Łódź", 14), ("to Łódź", 11), ("Łódź", 14)), row(question="why?")]
    found, _ = prepared(tmp_path, as_lines(tmp_path / "rows.jsonl", rows))
    expected = [
        {**each, "answers": places} for each, places in zip(rows, [[[14, 18], [11, 18]], []], strict=True)
    ]
    assert found == expected
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert prepared(tmp_path, tmp_path / "rows.parquet")[0] == expected
    objects = [
        {
            **each,
            "answers": [
                dict(zip(each["answers"], pair, strict=True))
                for pair in zip(*each["answers"].values(), strict=True)
            ],
        }
        for each in rows
    ]
    assert objects[0]["answers"][0] == {"text": "Łódź", "answer_start": 14}
    assert prepared(tmp_path, as_lines(tmp_path / "objects.jsonl", objects))[0] == expected
    (tmp_path / "one.tsv").write_text(
        f"question\tcontext\tanswer\tstart\nwhere?\t{CONTEXT}\tŁódź\t14\nwhy?\t{CONTEXT}\t\t\n",
        encoding="utf-8",
    )
    columns = (("answers.text", "answer"), ("answers.answer_start", "start"))
    expected[0]["answers"] = [[14, 18]]
    assert prepared(tmp_path, tmp_path / "one.tsv", columns=columns)[0] == expected


def test_a_context_of_digits_is_text(tmp_path):
    given = {"question": "what?", "context": 12345, "answers": {"text": [34], "answer_start": [2]}}
    found, _ = prepared(tmp_path, as_lines(tmp_path / "rows.jsonl", [given]))
    assert found == [{**given, "context": "12345", "answers": [[2, 4]]}]


def test_an_answer_that_stands_elsewhere_is_dropped_and_that_is_said(tmp_path):
    """UTF-16 counts two for an emoji, UTF-8 four bytes."""
    rows = [row(("Łódź", 14)), row(("Łódź", 15)), row(("Łódź", 17)), row(("Łódź", -4)), row(("Lodz", 14))]
    found, report = prepared(tmp_path, as_lines(tmp_path / "rows.jsonl", rows))
    assert len(found) == 1
    assert report["inputs"]["lost"]["misplaced"]["records"] == 4
    (said,) = messages(report["inputs"]["lost"])
    assert "an answer does not stand where they say: 4 " in said
    assert "answer_start counts characters of the context from 0, not bytes" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": None}, "there are no answers; give an empty list, or text, where a question has none"),
        (
            {"answers": {"text": ["Ada"], "answer_start": []}},
            "1 answers have 0 places; give each where it starts",
        ),
        ({"answers": {"text": ["Ada"], "answer_start": ["2b"]}}, "'2b' is no number of a character"),
        ({"answers": {"text": ["Ada"], "answer_start": [True]}}, "True is no number of a character"),
    ],
)
def test_rows_without_places_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=f"'answers.text', 'answers.answer_start': {message}"):
        prepared(tmp_path, as_lines(tmp_path / "rows.jsonl", [{**row(), **change}]))


@given(before=st.text(max_size=6), answer=st.text(max_size=6), after=st.text(max_size=6))
def test_a_place_has_the_answer_without_white_space_around_it(before, answer, after):
    context = before + answer + after
    places = answer_places(context, [answer], [str(len(before))])
    assert places is not None
    assert [context[begin:end] for begin, end in places] == ([answer.strip()] if answer.strip() else [])
