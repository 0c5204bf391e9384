"""Predictions beside outcomes: of the very run that was predicted, of the same loss, by the right family."""

import csv
import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from t5lite.cli.main import main
from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import place
from t5lite.scaling.analysis import Analysis, HeldOut, Settings
from t5lite.scaling.methods import METHODS
from t5lite.scaling.report.families import Family, families
from t5lite.scaling.report.predictions import WrittenDown, held_out, read_predictions, with_outcomes
from t5lite.scaling.report.reported_run import ReportedRun
from t5lite.scaling.report.sources import read_all, sources
from t5lite.scaling.tables import Reading

N, D = 493120.0, 5102976.0


def table(path: Path, header: str, *rows: tuple[Any, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def found(path: Path, **columns: str) -> list[Family]:
    runs = read_all([str(path)], sources(Reading(columns=columns), None)).runs
    return families(runs, (), Settings())


def test_what_came_of_a_held_out_run_is_its_own_loss_whatever_the_columns(tmp_path):
    runs = [("small", 1e5, 1e6, 3.9), ("seed 0", N, D, 3.0), ("seed 1", N, D, 3.2)]
    file = table(tmp_path / "runs.csv", "run,size,D,final", *runs)
    (family,) = found(file, params="size", loss="final")
    flops = 6 * N * D
    of = [
        HeldOut(params=N, tokens=D, flops=flops, loss=loss, predicted=3.1, interval=None)
        for loss in (3.2, 3.0)
    ]
    analysis = Analysis(
        method=METHODS["kaplan"], fitted=None, numbers={}, intervals={}, held_out=tuple(of), notes=()
    )
    predictions = held_out(dataclasses.replace(family, analyses=(analysis,)))
    assert [(each.run, each.outcome) for each in predictions] == [("seed 1", 3.2), ("seed 0", 3.0)]


def told(path: Path, *sizes: tuple[float, float], key: str = "", **asked: Any) -> WrittenDown:
    """Write what a fit predicts, as it does, and read it."""
    of = {"numbers": {f"loss at N={n:g}, D={d:g}": 3.1 for n, d in sizes}, "intervals": {}}
    path.write_text(json.dumps({key: {"columns": {}, "methods": {"kaplan": of}} | asked}))
    return read_predictions(place(path))


def test_sizes_that_no_run_is_of_are_counted_and_those_of_unfinished_runs_awaited(tmp_path):
    rows = [("gpt", 266192 * 1.0086, 3912704, 3.0), ("gpt", N, D, 3.2), ("bert", 266192, 3912704, 4.0)]
    gpt, bert = found(table(tmp_path / "runs.csv", "family,N,D,L", *rows))
    waiting = ReportedRun(
        name="next", family="gpt", state="running", row={"params": 7e6, "tokens": 9.0}, whole_tokens=9e7
    )
    gpt = dataclasses.replace(gpt, runs=(*gpt.runs, waiting))
    written = told(tmp_path / "a.json", (266192, 3912704), (N, D), (7e6, 9e7), (7e6, 9.0), key="gpt")
    shown, notes = with_outcomes(written, [gpt, bert])
    assert [(each.params, each.outcome) for each in shown] == [(N, 3.2), (7e6, None)]
    (strange, awaited) = (note.partition(": ")[2] for note in notes)
    assert strange.startswith("2 of 4 predictions are of sizes that no run here has")
    assert awaited.startswith("1 of 4 predictions are of runs that are not finished yet")


@pytest.mark.parametrize(
    ("columns", "asked", "refused"),
    [
        ({}, {"meant": {"loss": "val_loss"}}, False),
        ({}, {"meant": {"loss": "ppl"}}, False),
        ({}, {"meant": {"loss": "bits"}}, True),
        ({}, {"columns": {"loss": "bits"}}, True),
        ({"loss": "bits"}, {"meant": {"loss": "bits"}}, False),
        ({"loss": "bits"}, {"meant": {"loss": "nll"}}, True),
    ],
)
def test_predictions_are_held_against_the_same_loss(tmp_path, columns, asked, refused):
    (family,) = found(table(tmp_path / "runs.csv", "N,D,loss,bits", (N, D, 3.2, 1.5)), **columns)
    written = told(tmp_path / "a.json", (N, D), **asked)
    if refused:
        with pytest.raises(DataError, match="--columns loss"):
            written.check_losses(family.runs)
    else:
        written.check_losses(family.runs)
    assert len(with_outcomes(written, [family])[0]) == (not refused)


@pytest.mark.parametrize(
    ("header", "loss", "remedy"),
    [
        ("N,D,L", "bits", "no run here has such a column: leave the file out"),
        ("N,D,bits", "bpb", "no run here has such a column: leave the file out"),
        ("N,D,loss,bits per byte", "bits-per-byte", "give --columns loss 'bits per byte'"),
    ],
)
def test_the_column_that_a_remedy_names_is_there(tmp_path, header, loss, remedy):
    row = (N, D, 3.2, 1.5)[: header.count(",") + 1]
    chosen = {"loss": "loss"} if "--columns" in remedy else {}
    (family,) = found(file := table(tmp_path / "runs.csv", header, row), **chosen)
    written = told(tmp_path / "a.json", (N, D), meant={"loss": loss})
    with pytest.raises(DataError, match=re.escape(remedy)):
        written.check_losses(family.runs)
    if chosen:
        *_, column = shlex.split(remedy)
        (family,) = found(file, loss=column)
        written.check_losses(family.runs)


@pytest.mark.parametrize(("where", "outcome"), [({"family": "b"}, 4.0), ({"family": "c"}, None), ({}, None)])
def test_what_a_fit_chose_by_where_is_its_family(tmp_path, where, outcome):
    both = found(table(tmp_path / "runs.csv", "family,N,D,L", ("a", N, D, 3.0), ("b", N, D, 4.0)))
    shown, notes = with_outcomes(told(tmp_path / "a.json", (N, D), where=where), both)
    assert [each.outcome for each in shown] == [outcome] * (outcome is not None)
    assert (notes == []) == (outcome is not None)
    alone, _ = with_outcomes(told(tmp_path / "a.json", (N, D), where=where), both[:1])
    assert len(alone) == (where == {})


@pytest.mark.parametrize("key", ["a", "wide.csv: a"])
def test_what_is_predicted_of_a_family_of_several_places_is_looked_up_in_each(tmp_path, key):
    paths = [
        table(tmp_path / name, "family,N,D,L", ("a", N, each * D, each + 2), ("b", N, D, each + 3))
        for name, each in (("wide.csv", 1), ("deep.csv", 2))
    ]
    runs = read_all([str(path) for path in paths], sources(Reading(), None)).runs
    both = families(runs, (), Settings())
    shown, notes = with_outcomes(told(tmp_path / "a.json", (N, D), (N, 2 * D), (N, 9 * D), key=key), both)
    wanted = [("wide.csv: a", 3.0), ("deep.csv: a", 4.0)]
    assert [(each.family, each.outcome) for each in shown] == (wanted if key == "a" else wanted[:1])
    assert notes[0].partition(": ")[2].startswith(f"{1 if key == 'a' else 2} of 3 predictions are of sizes")


def test_a_fit_says_what_it_read(tmp_path, capsys):
    rows = [("a", 1e6 * 2**each, 1e8, 3.0 - each / 9) for each in range(4)]
    file = table(tmp_path / "runs.csv", "kind,N,D,bits", *rows, ("b", 1, 1, 1))
    words = ["--where", "kind", "a", "--by", "kind", "--methods", "kaplan", "--resamples", "20", "--json"]
    assert main(["scaling", "fit", str(file), *words]) == 2  # four runs determine no law
    said = json.loads(capsys.readouterr().out)["a"]
    assert (said["where"], said["by"]) == ({"kind": "a"}, "kind")
    assert said["meant"] == {"params": "N", "tokens": "D", "loss": "bits"}
