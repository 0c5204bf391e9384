"""What was compiled of the shipped ladders is of the shapes that they have, as predicted, and on its page."""

import json

import pytest

from benchmarks.compiled_rungs import FIGURES, ROOT, SWEEPS, predicted_bytes, rungs, shape_name, table
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.hardware.topology import parse_topology

KEPT = json.loads(FIGURES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SWEEPS)
def test_what_was_compiled_of_a_ladder_fits_about_as_predicted(name):
    configs = {shape_name(config): config for config in rungs(name)}
    assert KEPT[name].keys() == configs.keys()
    for shape, found in KEPT[name].items():
        assert found["fits"], shape
        assert found["remat"] == configs[shape].execution.remat
        predicted = predicted_bytes(configs[shape], parse_topology(SWEEPS[name]))
        assert predicted == pytest.approx(found["predicted_bytes"]), shape
        above = predicted - found["needed_bytes"]
        # Small steps keep in the chip's own memory what is counted here, which makes no difference to a plan.
        assert -0.05 * found["needed_bytes"] <= above <= max(0.3 * GIB, 0.1 * found["needed_bytes"]), shape


def test_the_page_has_the_table():
    page = (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
    assert "\n".join(table(KEPT)) in page, "python -m benchmarks.compiled_rungs --only"
