"""What stands on a report's page and in its figures is so, whatever the runs are of and are called."""

import dataclasses
import re
from html import unescape

import numpy as np

from t5lite.pages.themed_svg import plain_text, themed_svg
from t5lite.scaling.intervals import Interval
from t5lite.scaling.report.curve_figures import PROGRESS, curves
from t5lite.scaling.report.page import Content, page
from t5lite.scaling.report.predictions import Prediction
from t5lite.scaling.report.reported_run import Curve, ReportedRun
from tests.unit.scaling.test_report_predictions import found, table


def test_a_trunk_that_branches_share_is_counted_once_and_intervals_have_their_own_level(tmp_path):
    trunk = ReportedRun(name="trunk", family="g", state="finished", row={"flops": "4e12", "own_flops": ""})
    branches = [
        ReportedRun(name=name, family="g", state="finished", row={"flops": "5e12", "own_flops": "1e12"})
        for name in "ab"
    ]
    family, *_ = found(table(tmp_path / "runs.csv", "family,N,D,L", ("g", 7, 9, 3.2)))
    of = Prediction(family="g", method="kaplan", params=7, tokens=9, predicted=3.0)
    shown = page(
        Content(
            title="t", given=("sweep",), runs=(trunk, *branches), families=(family,), notes=(),
            predictions=(
                dataclasses.replace(of, interval=Interval(low=2.0, high=4.0, level=0.8)),
                dataclasses.replace(of, interval=Interval(low=2.5, high=3.5, level=0.95)),
            ),
            curves={}, of_family={"g": ()}, of_predictions={}, level=0.9,
        )
    )  # fmt: skip
    assert "<b>6·10¹²</b><span>FLOPs of the finished runs together</span>" in shown
    assert "80%: 2.0000 to 4.0000" in shown
    assert "95%: 2.5000 to 3.5000" in shown


def test_names_of_runs_are_text_in_figures(tmp_path):
    names = ('<script>&"', "$x$ ^_", "cut \ud800 short", "\udcff" * 30)
    (family,) = found(table(tmp_path / "runs.csv", "N,D,L", (7, 9, 3.2)))
    at = np.array([1.0, 2.0])
    curve = Curve(steps=at, tokens=at, flops=at, hours=at, loss=3 / at)
    runs = [ReportedRun(name=name, family="", state="finished", row={}, curve=curve) for name in names]
    with plain_text():
        figure = curves(dataclasses.replace(family, runs=tuple(runs)), PROGRESS[0])
        assert figure is not None
        drawn = themed_svg(figure, name="f", says="")
    assert "<script" not in drawn
    said = unescape(re.sub("<[^>]*>", "\n", drawn))
    for text in (*names[:2], r"cut \ud800 short", r"\udcff\udcff\udcff"):
        assert f"{text} 1.50" in said
