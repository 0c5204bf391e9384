"""Predictions beside outcomes: of the very run that was predicted, of the same loss, by the right family."""

import csv
import dataclasses
from pathlib import Path
from typing import Any


from t5lite.scaling.analysis import Analysis, HeldOut, Settings
from t5lite.scaling.methods import METHODS
from t5lite.scaling.report.families import Family, families
from t5lite.scaling.report.predictions import held_out
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
    of = [HeldOut(params=N, tokens=D, flops=flops, loss=loss, predicted=3.1, interval=None) for loss in (3.2, 3.0)]
    analysis = Analysis(
        method=METHODS["kaplan"], fitted=None, numbers={}, intervals={}, held_out=tuple(of), notes=()
    )
    predictions = held_out(dataclasses.replace(family, analyses=(analysis,)))
    assert [(each.run, each.outcome) for each in predictions] == [("seed 1", 3.2), ("seed 0", 3.0)]
