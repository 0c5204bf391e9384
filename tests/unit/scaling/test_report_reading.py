"""What a report reads of tables, sweeps and runs is what a fit reads, run by run."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from t5lite.scaling.analysis import Settings
from t5lite.scaling.observations import Observations
from t5lite.scaling.report.families import Family, families
from t5lite.scaling.report.reported_run import Material, ReportedRun
from t5lite.scaling.report.sources import _apart, read_all, sources
from t5lite.scaling.report.tables_shown import as_csv, run_rows
from t5lite.scaling.tables import Reading

ROWS = [(70e6 * 2**place, 1.4e9 * 3**place, 3.5 - place / 4) for place in range(4)]


def read(*paths: Path, **columns: str) -> Material:
    return read_all([str(path) for path in paths], sources(Reading(columns=columns), None))


def laws_of(material: Material) -> list[Family]:
    return families(material.runs, (), Settings())


def check_same(found: Observations, wanted: Observations) -> None:
    for name, values in vars(wanted).items():
        if name != "runs":
            np.testing.assert_array_equal(getattr(found, name), values, err_msg=name)
    assert (found.runs is None) == (wanted.runs is None)


@pytest.mark.parametrize(
    ("header", "cells", "columns"),
    [
        ("N,D,ppl", lambda n, d, loss: (n, d, np.exp(loss)), {}),
        ("N,D,bits", lambda n, d, loss: (n, d, loss), {}),
        ("N,D,L", lambda n, d, loss: (f"{n / 1e6:g}M", f'"{d:,.0f}"', loss), {}),
        ("N;D;C;L", lambda n, d, loss: (f"{n:.0f}", f"{d:.0f}", "1e18", str(loss).replace(".", ",")), {}),
        ("N,D,L", lambda n, d, loss: (n, d, loss, "more" if loss == 3.25 else ""), {}),
        ("N,D,L,U", lambda n, d, loss: (n, d, loss, "" if loss > 3.2 else 1e9), {}),
        ("n_params,params,D,L", lambda n, d, loss: (n, 7, d, loss), {"params": "n_params"}),
        ("n,ppl,tokens,loss", lambda n, d, loss: (n, np.exp(loss), d, 1), {"loss": "ppl"}),
        ("C,N,L", lambda n, d, loss: (6 * n * d, n, loss if loss > 2.8 else "none"), {}),
        ("run,N,D,L", lambda n, d, loss: ("a" if loss > 3 else "b", n, d, loss), {}),
    ],
)
def test_a_table_is_read_as_a_fit_reads_it(tmp_path, header, cells, columns):
    file, delimiter = tmp_path / "runs.csv", ";" if ";" in header else ","
    lines = [delimiter.join(map(str, cells(*row))) for row in [*ROWS, ROWS[-1]]]
    file.write_text("\n".join([header, *lines]), encoding="utf-8")
    ((_, wanted),) = Reading(columns=columns).tables(str(file)).items()
    material = read(file, **columns)
    (family,) = laws_of(material)
    check_same(family.observations, wanted.observations)
    said = "\n".join([*material.notes, *family.notes])
    for note in wanted.notes:
        assert note.partition(", the first")[0] in said
    known = family.observations.loss.tolist()
    assert {each for run in material.runs if np.isfinite(each := run.number("loss"))} <= {*known}
    rows = csv.DictReader(as_csv(run_rows(material.runs)).decode().splitlines())
    assert "\0" not in (rows.fieldnames or ())


def listed(folder: Path) -> Path:
    folder.mkdir()
    runs = {"pretrain": {"family": "g", "params": 7, "tokens": 9, "flops": 378.0, "total_steps": 3}}
    (folder / "sweep.json").write_text(json.dumps(runs))
    return folder


def test_runs_without_a_loss_are_one_only_in_one_place(tmp_path):
    places = [listed(tmp_path / "lr1e-3"), listed(tmp_path / "lr3e-4")]
    material = read(*places, places[0])
    assert sorted(run.origin for run in material.runs) == [str(place) for place in places]
    assert material.notes[0] == "1 of 3 runs are given twice; each is shown once"


def test_runs_of_one_name_in_two_places_are_no_points_of_one_training(tmp_path):
    for place, name in enumerate(("a.csv", "b.csv")):
        rows = [
            f"g,{run},{n:g},{d:g},{loss + place / 9}" for run, (n, d, loss) in zip("xyzw", ROWS, strict=True)
        ]
        (tmp_path / name).write_text("\n".join(["family,run,N,D,L", *rows]))
    found = laws_of(material := read(tmp_path / "a.csv", tmp_path / "b.csv"))
    assert [len(family.observations) for family in found] == [len(ROWS)] * 2
    together = [dataclasses.replace(run, family="g") for run in material.runs]
    (family,) = families(together, (), Settings())
    assert len(family.observations) == 2 * len(ROWS)
    assert family.observations.runs is None


@pytest.mark.parametrize(
    ("header", "places", "names"),
    [
        (
            "family,N,D,L",
            ("wide.csv", "deep.csv"),
            ["wide.csv: g", "wide.csv: h", "deep.csv: g", "deep.csv: h"],
        ),
        ("kind,N,D,L", ("a/runs.csv", "b/runs.csv"), ["{}/a/runs.csv: runs", "{}/b/runs.csv: runs"]),
        ("kind,N,D,L", ("a/wide.csv", "b/deep.csv"), ["wide", "deep"]),
        ("family,N,D,L", ("a/runs.csv", "a/runs.csv"), ["g", "h"]),
    ],
)
def test_families_of_one_name_in_several_places_have_laws_of_their_own(tmp_path, header, places, names):
    for shift, place in enumerate(dict.fromkeys(places)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        rows = [f"{'gh'[at % 2]},{n:g},{d:g},{loss + shift}" for at, (n, d, loss) in enumerate(ROWS)]
        (tmp_path / place).write_text("\n".join([header, *rows]))
    material = read(*(tmp_path / place for place in places))
    found = laws_of(material)
    assert [family.name for family in found] == [name.format(tmp_path) for name in names]
    assert sum(len(family.observations) for family in found) == len({*places}) * len(ROWS)
    several = [note for note in material.notes if "a law each" in note]
    assert len(several) == any(": " in name for name in names)
    for place in places if several else ():
        assert f"{len(ROWS) * len(places) // len(names)} of {tmp_path / place}" in several[0]


def test_single_runs_are_of_one_family_wherever_they_are():
    runs = [("", "a"), ("", "b"), ("sweeps/x", "c"), ("sweeps/x", "d")]
    of = [(path, ReportedRun(name=name, family="g", state="finished", row={})) for path, name in runs]
    apart, (said,) = _apart(of)
    assert [run.family for run in apart] == ["g", "g", "x: g", "x: g"]
    assert "each: g (runs: 2 given by themselves, 2 of sweeps/x); for one law" in said
    assert _apart(of[:2]) == ([run for _, run in of[:2]], [])


@pytest.mark.parametrize(("chief", "first", "other"), [(None, 3.0, "news"), ("news", 5.0, "wiki")])
def test_a_curve_is_of_one_evaluation_and_the_others_are_said(tmp_path, chief, first, other):
    curves = ["run,family,evaluation,params,step,tokens,flops,loss"]
    curves += [
        f"a,g,{name},7,{step},{step * 9},{step * 378},{loss - step / 9}"
        for step in (1, 2, 3)
        for name, loss in (("wiki", 3), ("news", 5))
    ]
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "curves.csv").write_text("\n".join(curves))
    if chief is None:  # of a file, which says of none that it is the chief one
        material = read(folder / "curves.csv")
        assert len(material.runs[0].points) == 3
    else:
        config = json.dumps({"checkpoints": {"best_evaluation": chief}}).replace('"', '""')
        (folder / "table.csv").write_text(
            f'run,family,params,tokens,flops,loss,config\na,g,7,27,1134,4.67,"{config}"\n'
        )
        material = read(folder)
    (run,) = material.runs
    assert run.curve is not None
    assert run.curve.loss == pytest.approx([first - step / 9 for step in (1, 2, 3)])
    assert material.notes == (
        f"{folder / 'curves.csv'}: curves are of one evaluation of a run; left out: {other} (of 1 runs)",
    )
