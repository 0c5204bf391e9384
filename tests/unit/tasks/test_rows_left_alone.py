"""What of a file of rows is not read, not an example, or refused with all of its places."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from t5lite.core.errors import DataError
from t5lite.tasks.opening import open_task
from tests.unit.tasks.test_task_rows import SIDES, lines, pairs, prepare, table

PICTURED = [
    {
        "text": f"text {number}",
        "label": f"{number % 2}",
        "id": number,
        "image": {"bytes": bytes([number]) * 50, "path": f"{number}.png"},
        "sounds": [{"bytes": bytes([number]), "path": None}],
    }
    for number in range(30)
]


@pytest.fixture
def columns_read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return which columns of Parquet files are read, as they are."""
    read: set[str] = set()
    whole = pyarrow.parquet.ParquetFile.iter_batches

    def spied(file, *sizes, columns, **options):
        read.update(columns)
        return whole(file, *sizes, columns=columns, **options)

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", spied)
    return read


def test_pictures_are_not_read_and_do_not_say_what_is_held_out(tmp_path: Path, columns_read: set[str]):
    files = [table(tmp_path / "pictured.parquet", PICTURED)]
    files.append(lines(tmp_path / "plain.jsonl", [dict(list(row.items())[:3]) for row in PICTURED]))
    found = []
    for file in files:
        prepare(tmp_path, "classification", file, heldout_fraction=0.3)
        found.append([pairs(tmp_path, side) for side in SIDES])
    assert found[0] == found[1]
    assert columns_read == {"text", "label", "id"}


def test_where_files_say_what_is_held_out_no_columns_are_read_but_those_of_the_task(
    tmp_path: Path, columns_read: set[str]
):
    train, dev = (table(tmp_path / f"{name}.parquet", PICTURED) for name in ("train", "dev"))
    prepare(tmp_path, "classification", train, heldout_inputs=(str(dev),))
    assert columns_read == {"text", "label"}


SENTENCES = {"sentence1": "A man plays.", "sentence2": "Somebody plays."}


@pytest.mark.parametrize("unlabelled", [-1, -1.0, "-1", "-1.000"])
def test_pairs_without_a_score_are_counted_and_left_out(unlabelled, tmp_path: Path):
    rows = [{**SENTENCES, "label": label} for label in (5.0, unlabelled, 0.0, unlabelled, 1.9)]
    report = prepare(tmp_path, "stsb", lines(tmp_path / "rows.jsonl", rows))
    assert [target for _, target in pairs(tmp_path)] == ["5.0", "0.0", "2.0"]
    assert report["inputs"]["lost"]["no_label"]["records"] == 2
    with pytest.raises(DataError, match=r"rows dropped because they have no label .*: 2 .* take another"):
        prepare(tmp_path, "stsb", lines(tmp_path / "test.jsonl", rows[1::2]))


def test_a_number_may_be_minus_one_where_no_task_says_that_this_is_none(tmp_path: Path):
    rows = [{"text": f"text {number}", "label": number} for number in (-1, 0)]
    prepare(tmp_path, "regression", lines(tmp_path / "rows.jsonl", rows))
    assert [target for _, target in pairs(tmp_path)] == ["-1", "0"]
    assert open_task("stsb").fields["label"] != open_task("regression").fields["label"]


@pytest.mark.parametrize("task", ["ner-tags", "ner", "semantic-roles"])
@pytest.mark.parametrize("fraction", [0.0, 0.5])
@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_rows_without_one_tag_a_word_are_refused_together(task, fraction, kind, tmp_path: Path):
    tags, column = ["B-PER", "O", "O"], "tags" if task == "semantic-roles" else "ner_tags"
    rows = [{"tokens": ["Ada", "wrote", f"{number}"], column: tags, "predicate": 1} for number in range(40)]
    for number in (*range(3, 30, 4), 31):
        rows[number][column] = tags[: number % 3] or [*tags, "O"]
    uneven = [number for number, row in enumerate(rows) if len(row[column]) != 3]
    path = tmp_path / f"rows{kind}"
    lines(path, rows) if kind == ".jsonl" else table(path, rows)
    with pytest.raises(DataError) as refused:
        prepare(tmp_path, task, path, heldout_fraction=fraction)
    place = ":" if kind == ".jsonl" else " row "
    said = ", ".join(f"{path}{place}{number + 1}" for number in uneven[:5])
    assert str(refused.value) == (
        f"rows without one tag a word: {len(uneven):,} ({said}, …); correct such rows, or leave them out"
    )
    assert not (tmp_path / "out").exists()
