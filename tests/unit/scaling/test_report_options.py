"""Options of ``t5lite report`` that would do nothing are refused, and what is missing is named."""

import json
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.core.errors import DataError
from t5lite.scaling.report.reported_run import ReportedRun
from t5lite.scaling.report.sources import check_columns
from t5lite.scaling.tables import Reading


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for folder, file in (("quickstart", "results.json"), ("sweep", "sweep.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(json.dumps({}))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep", "--methods"], "--methods names none; allowed: envelope"),
        (["sweep", "--by", "family"], "--by family is of tables, and none is given"),
        (
            ["quickstart", "--output", "new", "--overwrite"],
            "leave out --output, --overwrite, or give its run",
        ),
        (["--directory", "quickstart", "--fit-below", "1e9"], "leave out --fit-below"),
    ],
)
def test_options_that_would_do_nothing_are_refused(places, monkeypatch, capsys, words, said):
    monkeypatch.chdir(places)
    assert main(["report", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (places / "new").exists()


def test_a_column_that_no_run_has_is_named():
    row = {"loss": 3.0, "bits": 1.0}
    runs = [ReportedRun(name="a", family="g", state="finished", row=row, points=(row,))]
    check_columns(runs, Reading(columns={"loss": "bits"}))
    check_columns([], Reading(columns={"loss": "nope"}))
    with pytest.raises(DataError, match="has no column 'bit'; did you mean 'bits"):
        check_columns(runs, Reading(columns={"loss": "bit"}))
