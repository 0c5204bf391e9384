"""What is said of a fit that carries no further than its runs, or whose constants they do not tell apart."""

import pytest

from t5lite.scaling.analysis import Settings, warnings
from t5lite.scaling.methods import METHODS
from t5lite.scaling.report.families import families
from t5lite.scaling.report.table_files import TableFiles
from t5lite.scaling.tables import Reading
from tests.unit.scaling.simulated import isoflops


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(sizes=((1e9, 1e11),)), []),
        (Settings(sizes=((1e10, 9e11),)), ["N=1e+10, D=9e+11 is 54 times the largest FLOPs of the fitted"]),
        (
            Settings(sizes=((2e11, 1e9),)),
            ["N=2e+11, D=1e+09 is 17 times the largest N of the fitted runs: an"],
        ),
        (Settings(sizes=((1e9, 1e7),)), ["N=1e+09, D=1e+07 is 49 times below the smallest D of the fitted"]),
        (Settings(fit_below=2e19), ["24 runs held out are up to 63 times the largest FLOPs of the fitted"]),
        (Settings(fit_below=9e20, budgets=(2e21,)), []),
    ],
)
def test_what_is_far_beyond_the_fitted_runs_is_said(settings, said):
    found = warnings(isoflops(), settings)
    assert [each[: len(start)] for each, start in zip(found, said, strict=True)] == said


@pytest.mark.parametrize("name", ["chinchilla", "projection"])
def test_constants_that_may_change_together_are_said(name):
    """Of one size a budget, N and D go together, and only the form of their law tells A from B."""
    method = METHODS[name]
    assert "ill-conditioned" not in " ".join(method.fit(isoflops(noise=0.002)).notes())
    found = method.fit(isoflops(noise=0.002, num_budgets=12, sizes=1))
    assert f"ill-conditioned (condition {found.law.condition:.0f})" in " ".join(found.notes())


def test_a_report_says_it_once(tmp_path):
    file = tmp_path / "runs.csv"
    runs = isoflops()
    rows = [f"{n},{d},{loss}" for n, d, loss in zip(runs.params, runs.tokens, runs.loss, strict=True)]
    file.write_text("\n".join(["params,tokens,loss", *rows]), encoding="utf-8")
    read = TableFiles(reading=Reading()).read(file)
    (family,) = families(read.runs, (), Settings(fit_below=2e19))
    assert [note for note in family.notes if "extrapolation" in note] == [
        "24 runs held out are up to 63 times the largest FLOPs of the fitted runs: an extrapolation, which "
        "intervals understate"
    ]
