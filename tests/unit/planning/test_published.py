"""The cost model, and kept compiled bounds, against speeds that others measured.

Nothing is compiled here: bounds are those of docs/data/published_compiled.json. That the compiler still says
so is checked by the slow tests/compile/test_published_bounds.py.
"""

import dataclasses
import json

import pytest

from benchmarks.planned_presets import PAGE
from benchmarks.published_compiled import figures
from benchmarks.published_speeds import COMPILED, RUNS, PublishedRun, compare, markdown
from t5lite.models.parameter_count import count_parameters
from tests.unit.planning.handmade import step


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.title)
def test_nobody_was_faster_than_predicted_or_than_the_compiled_bound(run: PublishedRun):
    compared = compare(run)
    assert 0.2 < compared.share <= 1.0
    assert (compared.compiled_seconds or 0.0) <= compared.measured_seconds


def test_what_was_compiled_are_public_runs():
    kept = json.loads(COMPILED.read_text(encoding="utf-8"))
    assert set(kept) <= {run.title for run in RUNS}
    assert {title.rpartition(" ")[2].partition(":")[0] for title in kept} == {"v5e", "v5p", "v6e"}
    for each in kept.values():
        assert max(each["seconds"].values()) <= each["scheduled_seconds"] <= each["serial_seconds"]
        assert each["compiler_options"]  # of today's program


def test_what_is_kept_was_compiled_as_the_table_says_and_fits_as_what_ran_did():
    kept = json.loads(COMPILED.read_text(encoding="utf-8"))
    compiled = {run.title: run.compiled_as.words for run in RUNS if run.title in kept}
    assert {title: each["compiled_as"] for title, each in kept.items()} == compiled
    assert [title for title, each in kept.items() if not each["fits"]] == []


def test_tuned_runs_reach_most_of_the_prediction():
    """On v5e and v5p, whose tables are of full tuning."""
    shares = [compare(run).share for run in RUNS if run.topology.startswith("v5")]
    assert min(shares) > 0.7


@pytest.mark.parametrize("run", [run for run in RUNS if run.name.startswith("MaxText")])
def test_models_have_the_size_of_their_name(run: PublishedRun):
    billions = float(run.name.split()[-1].removesuffix("B"))
    assert count_parameters(run.model) / 1e9 == pytest.approx(billions, rel=0.04)


def test_what_is_compiled_from_now_on_says_its_options():
    assert figures(step())["compiler_options"] == {"xla_of_the_chip": "1"}


def test_the_page_has_the_kept_figures():
    page = PAGE.read_text(encoding="utf-8").partition("<!-- published -->")[2]
    cells = [line.strip("| ").split(" | ") for line in page.partition("<!-- end")[0].splitlines()[3:]]
    kept, one = json.loads(COMPILED.read_text(encoding="utf-8")), compare(RUNS[0])
    for run, (name, topology, _, compiled, scheduled, *_) in zip(RUNS, cells, strict=True):
        each = dataclasses.replace(one, compiled=kept.get(run.title))
        expected = (each.compiled_seconds, each.scheduled_seconds)
        assert (name, topology) == (run.name, run.topology)
        assert (compiled.strip(), scheduled.strip()) == tuple(f"{s:.2f}" if s else "" for s in expected)


def test_the_table_has_a_line_a_run():
    assert len(markdown([compare(run) for run in RUNS[:2]]).splitlines()) == 4
