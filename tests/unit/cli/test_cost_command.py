"""``t5lite cost``: days, chip-hours and money of recipes, by prediction."""

import json
from pathlib import Path

import pytest

from t5lite.cli.main import main

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "e2e" / "tiny_recipe.py"
COST = ["cost", "--chips", "v5e-4", "--price", "1.5"]


def rows(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> list[dict]:
    assert main([*COST, "--json", *words]) == code
    return json.loads(capsys.readouterr().out)


def test_a_row_is_the_planner_s_choice_times_the_steps(capsys: pytest.CaptureFixture[str]):
    (row,) = rows(capsys, "--config", str(TINY))
    assert main(["plan", "--config", str(TINY), "--chips", "v5e-4", "--no-compile", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["predicted"][0]
    assert row["step_seconds"] == first["step_seconds"]
    assert row["memory_bytes"] == first["memory_bytes"]["total"]
    assert row["days"] == pytest.approx(row["steps"] * first["step_seconds"] / 86_400)
    assert row["chip_hours"] == pytest.approx(row["days"] * 24 * 4)
    assert row["cost"] == pytest.approx(row["chip_hours"] * 1.5)


def test_a_sweep_is_the_sum_of_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "sweep.py"
    path.write_text(
        "from t5lite.scaling import sweep_recipe as s\n"
        "def sweep() -> s.Sweep:\n"
        f"    runs = [s.recipe({str(TINY)!r}, '--training.total-steps', str(steps)) for steps in (20, 60)]\n"
        f"    return s.Sweep(directory={str(tmp_path)!r}, families={{'t5': runs}})\n"
    )
    alone, every = rows(capsys, "--config", str(TINY), str(path))
    assert (every["runs"], every["steps"]) == (2, 80)
    assert every["chip_hours"] == pytest.approx(alone["chip_hours"] * 80 / alone["steps"])
    assert main([*COST, "--config", str(path)]) == 0
    assert "| `sweep`, 2 runs | v5e:2x2 | " in capsys.readouterr().out


def test_a_run_costs_the_steps_that_it_trains_itself_and_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, goes_on = tmp_path / "branches.py", tmp_path / "goes_on.py"
    keeps = ("'--checkpoints.keep-steps'", "'20'")
    path.write_text(
        "from t5lite.scaling import sweep_recipe as s\n"
        "def sweep() -> s.Sweep:\n"
        f"    short = s.recipe({str(TINY)!r}, '--training.total-steps', '30', {', '.join(keeps)})\n"
        f"    long = s.recipe({str(TINY)!r}, '--training.total-steps', '60')\n"
        f"    return s.Sweep(directory={str(tmp_path)!r}, families={{'t5': [short, short, long]}})\n"
    )
    origin = "continue_from=r.ContinueFrom(run='/x', step=16),\n        data="
    goes_on.write_text(TINY.read_text().replace("data=", origin, 1))
    alone, branched, rest = rows(capsys, "--config", str(TINY), str(path), str(goes_on))
    assert (branched["runs"], branched["steps"], rest["steps"]) == (2, 30 + 40, 40 - 16)
    for row in (branched, rest):
        assert row["chip_hours"] == pytest.approx(alone["chip_hours"] * row["steps"] / 40)
        assert row["tokens"] == pytest.approx(alone["tokens"] * row["steps"] / 40)


def test_what_cannot_be_had_is_a_row_that_says_why_and_the_others_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    by_epochs = tmp_path / "epochs.py"
    by_epochs.write_text(TINY.read_text().replace("total_steps=", "epochs=2, total_steps="))
    broken = tmp_path / "broken.py"
    broken.write_text("def sweep():\n    return 3\n")
    large = ROOT / "configs" / "llama_3_1_8b_causal_lm.py"
    paths = [tmp_path / "none.py", by_epochs, broken, large, TINY]
    table = rows(capsys, "--config", *map(str, paths), code=2)
    said = ["does not exist", "epochs", "returned int; it must return a Sweep", "nothing fits"]
    for row, words in zip(table, said, strict=False):
        assert words in row["problem"]
        assert "cost" not in row
    assert table[-1]["cost"] > 0
    assert main([*COST, "--config", str(paths[0]), str(TINY)]) == 2
    printed = capsys.readouterr().out.splitlines()
    assert {line.count(" |") for line in printed[:4]} == {11}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--chips", "v5e-4", "--price", "1"], "--config is missing"),
        (["--config", "a.py", "--price", "1"], "--chips is missing"),
        (["--config", "a.py", "--chips", "v5e-4"], "--price is missing: what a chip-hour costs you"),
        (["--config", "a.py", "--chips", "v5e-4", "--price", "-1"], "--price -1 must be 0 or more"),
        (["--config", "a.py", "--chips", "v5e-4", "--price", "nan"], "--price nan must be 0 or more"),
        (["--config", "a.py", "--chips", "v5e-4", "--price", "1", "2"], "--price has 2 values for 1 recipes"),
        (["--config", "a.py", "--chips", "v5e-5", "--price", "1"], "use v5e-4 or v5e-8"),
    ],
)
def test_bad_options_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["cost", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.slow
def test_a_step_is_compiled_for_the_slice(capsys: pytest.CaptureFixture[str]):
    (predicted,) = rows(capsys, "--config", str(TINY))
    (compiled,) = rows(capsys, "--config", str(TINY), "--compile", "1")
    assert compiled["memory_bytes"] != predicted["memory_bytes"]
    assert 0 < compiled["memory_bytes"] < compiled["available_bytes"]
    assert compiled["cost"] == pytest.approx(compiled["steps"] * compiled["step_seconds"] * 4 / 3600 * 1.5)
