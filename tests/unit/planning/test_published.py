"""The cost model against speeds that others measured."""

import json

import pytest

from benchmarks.published_speeds import COMPILED, RUNS, PublishedRun, compare, markdown
from t5lite.models.parameter_count import count_parameters


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.title)
def test_nobody_was_faster_than_predicted_or_than_the_compiled_bound(run: PublishedRun):
    compared = compare(run)
    assert 0.2 < compared.share <= 1.0
    assert (compared.compiled_seconds or 0.0) <= compared.measured_seconds


def test_what_was_compiled_are_public_runs():
    kept = json.loads(COMPILED.read_text(encoding="utf-8"))
    assert set(kept) <= {run.title for run in RUNS}
    assert {title.rpartition(" ")[2].partition(":")[0] for title in kept} == {"v5e", "v5p", "v6e"}


def test_tuned_runs_reach_most_of_the_prediction():
    """On v5e and v5p, whose tables are of full tuning."""
    shares = [compare(run).share for run in RUNS if run.topology.startswith("v5")]
    assert min(shares) > 0.7


@pytest.mark.parametrize("run", [run for run in RUNS if run.name.startswith("MaxText")])
def test_models_have_the_size_of_their_name(run: PublishedRun):
    billions = float(run.name.split()[-1].removesuffix("B"))
    assert count_parameters(run.model) / 1e9 == pytest.approx(billions, rel=0.04)


def test_the_table_has_a_line_a_run():
    assert len(markdown([compare(run) for run in RUNS[:2]]).splitlines()) == 4
