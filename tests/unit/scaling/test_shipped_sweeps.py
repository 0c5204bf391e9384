"""The sweeps that are shipped expand, and their headers give the command."""

from pathlib import Path

import pytest

from t5lite.scaling import sweeps
from t5lite.scaling.counting import count_run

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.py"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_a_shipped_sweep_expands(path, monkeypatch):
    monkeypatch.setattr(sweeps, "store_identity", lambda store: store.rpartition("/")[2])
    runs, notes = sweeps.expand(sweeps.read_sweep(path))
    assert not notes
    assert f"t5lite sweep configs/sweeps/{path.name}" in path.read_text(encoding="utf-8")
    assert f"{len(runs)} runs" in path.read_text(encoding="utf-8")
    assert len({run.id for run in runs}) == len(runs)


def test_three_families_in_five_budgets(monkeypatch):
    monkeypatch.setattr(sweeps, "store_identity", lambda store: store.rpartition("/")[2])
    runs, _ = sweeps.expand(sweeps.read_sweep(ROOT / "configs" / "sweeps" / "laptop_families.py"))
    found = {(run.family, f"{count_run(run.config).flops:.0e}") for run in runs}
    assert {family for family, _ in found} == {"t5", "gpt", "bert"}
    assert len(found) == 15
    assert min(run.config.training.total_steps for run in runs) >= 100
    sizes = sorted({run.count.params for run in runs if run.family == "gpt"})
    for flops in {run.count.flops for run in runs}:
        assert sizes[0] < (flops / 120) ** 0.5 < sizes[-2]  # by C = 6 N D and D = 20 N
