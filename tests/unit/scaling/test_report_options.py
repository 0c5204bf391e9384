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


def test_a_report_of_nothing_asks_for_runs_and_one_of_a_run_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2
    assert "give runs, sweeps or tables: t5lite report RUN_OR_SWEEP" in capsys.readouterr().err
    (tmp_path / "runs.csv").write_text("family,N,D,bits\ng,1e6,1e8,1.5\n")
    of = {"columns": {}, "meant": {"loss": "bits"}, "methods": {"kaplan": {
        "numbers": {"loss at N=1e+06, D=1e+08": 1.4}, "intervals": {}}}}  # fmt: skip
    (tmp_path / "before.json").write_text(json.dumps({"other": of}))
    fast = ["--methods", "kaplan", "--resamples", "20"]
    assert main(["report", "runs.csv", "--predictions", "before.json", *fast]) == 0
    *_, said, last = capsys.readouterr().out.splitlines()
    assert said.startswith(
        "before.json: no family here is what it predicts, other, by 'bits'; predictions that are"
    )
    assert last == "1 run: t5lite-report/report.html"


def test_a_column_that_no_run_has_is_named():
    row = {"loss": 3.0, "bits": 1.0}
    runs = [ReportedRun(name="a", family="g", state="finished", row=row, points=(row,))]
    check_columns(runs, Reading(columns={"loss": "bits"}))
    check_columns([], Reading(columns={"loss": "nope"}))
    with pytest.raises(DataError, match="has no column 'bit'; did you mean 'bits"):
        check_columns(runs, Reading(columns={"loss": "bit"}))
