"""What a picture of isoFLOP profiles writes stands where no run and no curve is."""

import csv
from pathlib import Path

import numpy as np
import pytest

from t5lite.core.errors import DataError
from t5lite.pages.figures import LIGHT, canvas
from t5lite.scaling.isoflop import fit_isoflop
from t5lite.scaling.observations import Observations, budget_numbers
from t5lite.scaling.pictures import draw_profiles
from t5lite.scaling.report.drawing import size_axis
from tests.unit.scaling.simulated import isoflops

TABLE = Path(__file__).parents[3] / "docs/data/dictionaries_branches/table.csv"


def branches(family: str) -> Observations:
    with TABLE.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["family"] == family]
    columns = {"params": "params", "tokens": "tokens", "flops": "flops", "loss": "bits"}
    columns = {name: np.array([float(row[column]) for row in rows]) for name, column in columns.items()}
    runs = Observations(**columns)
    return runs.take(runs.flops < 1.1e13)


@pytest.mark.parametrize(
    "runs",
    [
        branches("gpt"),
        branches("t5"),
        isoflops(noise=0.1, num_budgets=2, sizes=5),
        isoflops(noise=0.02, num_budgets=14, sizes=4),
    ],
    ids=["gpt", "t5", "two budgets", "many"],
)
def test_budgets_are_named_where_no_run_and_no_curve_is(runs):
    figure, axes = canvas(LIGHT, height=3.9, xlabel="training tokens", ylabel="bits")
    size_axis(axes, runs.tokens)
    try:
        fit = fit_isoflop(runs)
    except DataError:
        fit = None
    draw_profiles(axes, runs, fit)
    figure.draw_without_rendering()
    key = axes.get_legend()
    texts = [*axes.texts, *(key.get_texts() if key else ())]
    boxes = [text.get_window_extent() for text in texts]
    drawn = np.concatenate([axes.transData.transform(line.get_xydata()) for line in axes.lines])
    for place, box in enumerate(boxes):
        assert not any(box.contains(x, y) for x, y in drawn)
        assert not any(box.overlaps(other) for other in boxes[:place])
        assert figure.bbox.count_contains(box.corners()) == 4
    num_budgets = budget_numbers(runs).max() + 1
    assert len({text.get_text() for text in texts}) == min(num_budgets, 10)
