"""Makes the recipes of configs/ that ``t5lite plan`` chooses, one a shape and slice.

    python -m benchmarks.planned_recipes                          # all of them: hours
    python -m benchmarks.planned_recipes --only t5_1_1_base_v5e_16
    python -m benchmarks.planned_recipes --only                   # written anew of the kept figures
    python -m benchmarks.planned_recipes --check t5_1_1_base_v5e_16   # the same choice as its file's?

Each is a ``t5lite plan --write`` in a process of its own, whose figures are kept in
docs/data/planned_recipes.json; the table of docs/planning.md is made of them.
tests/unit/planning/test_planned_recipes.py holds that files and table say nothing else. Needs libtpu (the
``test`` extra has it).
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from t5lite import run_config
from t5lite.cli import plan_command
from t5lite.core import command_line
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.predicted.cost_model import PlannedExecution
from t5lite.planning.report.table import duration
from t5lite.runner.planned_recipe import CompiledFigures, Figures, Origin, PlannedRecipe, planned_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "planning.md"
_BEGIN, _END = "<!-- recipes -->", "<!-- end recipes -->"
FIGURES = ROOT / "docs" / "data" / "planned_recipes.json"
_T5 = "--config configs/t5_1_1_base_span_corruption.py"
_XXL = "--config configs/t5_1_1_xxl_span_corruption.py"
_LLAMA = "--config configs/llama_3_1_8b_causal_lm.py"
_LARGE = f"{_T5} --model t5-1.1-large --run-dir runs/t5-1.1-large --global-batch-size 512"
_XL = f"{_T5} --model t5-1.1-xl --run-dir runs/t5-1.1-xl --global-batch-size 2048"
RECIPES = {
    "t5_1_1_base_v5e_16": f"{_T5} --chips v5e-16 --global-batch-size 128 --compile 1",
    "t5_1_1_large_v5e_64": f"{_LARGE} --chips v5e-64 --compile 1",
    "t5_1_1_large_v6e_32": f"{_LARGE} --chips v6e-32 --compile 1",
    "t5_1_1_xl_v5e_256": f"{_XL} --chips v5e-256 --compile 1",
    "t5_1_1_xxl_v5e_256": f"{_XXL} --chips v5e-256 --global-batch-size 2048 --compile 1",
    "t5_1_1_xxl_v5p_256": f"{_XXL} --chips v5p-256 --global-batch-size 2048 --compile 1",
    "llama_3_1_8b_v6e_256": f"{_LLAMA} --chips v6e-256 --global-batch-size 1024 --compile 4",
}
"""The options of ``t5lite plan`` for each recipe of configs/. A v5p-256 has 128 chips."""


def main() -> int:
    """Plan what is asked for; return 1 if a check finds another choice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=RECIPES, metavar="RECIPE", help=", ".join(RECIPES))
    parser.add_argument("--check", nargs="*", choices=RECIPES, metavar="RECIPE", help="plan, and compare")
    given = parser.parse_args()
    if given.check is not None:
        return int({same(name) for name in given.check or RECIPES} != {True})
    start = time.perf_counter()
    for name in RECIPES if given.only is None else given.only:
        kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
        kept[name] = fastest(name, ROOT / f"configs/{name}.py", kept.get(name))
        FIGURES.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{name}, {time.perf_counter() - start:.0f} s", flush=True)
    for name, text in files(json.loads(FIGURES.read_text(encoding="utf-8"))).items():
        (ROOT / name).write_text(text, encoding="utf-8")
    return 0


def fastest(name: str, path: Path, kept: dict[str, Any] | None) -> dict[str, Any]:
    """Plan a recipe, and return what is kept of it; one that is there stays if its step was no slower.

    Which ways are compiled depends on what they are predicted to take, so another search may leave out the
    one that was chosen before. Times of another compiler, or of another workload, are not compared.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else None
    new = planned(name, path.relative_to(ROOT))
    if kept is None or text is None or not _compare(new, kept):
        return new
    before, after = (each["figures"]["compiled"]["scheduled_seconds"] for each in (kept, new))
    if after < before:
        return new
    path.write_text(text, encoding="utf-8")
    print(f"{name}: the recipe that is there stays, {duration(before)} a step; found was {duration(after)}")
    return kept


def _compare(new: dict[str, Any], kept: dict[str, Any]) -> bool:
    """Return whether two are of one compiler, slice and workload."""
    said = [(each["figures"]["heading"], each["figures"]["compiled"]["compiler"]) for each in (new, kept)]
    return said[0] == said[1]


def planned(name: str, path: Path) -> dict[str, Any]:
    """Write a recipe, and return its figures and where it comes from."""
    options = [*shlex.split(RECIPES[name]), "--write", str(path), "--overwrite", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "t5lite.cli.main", "plan", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["written"]


def files(kept: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the recipes and the page with their table, by path, as the kept figures make them."""
    recipes = {f"configs/{name}.py": recipe(name, each).text for name, each in kept.items()}
    return {**recipes, str(PAGE.relative_to(ROOT)): page(kept)}


def recipe(name: str, kept: dict[str, Any]) -> PlannedRecipe:
    """Return a recipe that was planned, without its plan: what is run is as in its file."""
    figures, come = kept["figures"], kept["origin"]
    origin = Origin(**come | {"words": tuple(come["words"]), "changes": tuple(come["changes"])})
    known, words = command_line.parse_known(plan_command.Arguments, origin.words[1:])
    base = plan_command.base_of(known, words)
    made = run_config.load(ROOT / f"configs/{name}.py")
    if base is None:
        raise ValueError(f"{name}: a recipe is planned with --config")
    return planned_recipe(
        base.config,
        made.partitioning,
        PlannedExecution(remat=made.execution.remat, num_microbatches=made.step.num_microbatches),
        Figures(**figures | {"compiled": CompiledFigures(**figures["compiled"])}),
        origin,
    )


def page(kept: dict[str, dict[str, Any]]) -> str:
    """Return docs/planning.md with the table of the recipes."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = [
        "| recipe of configs/ | slice | rows | mesh, style, remat, microbatches | GiB a chip, of "
        "| step at least | MFU at most | as scheduled | if nothing overlaps |",
        "|---|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for name in RECIPES:
        if name in kept:
            lines.append(_row(name, kept[name]["figures"]))
    return f"{before}{_BEGIN}\n{chr(10).join(lines)}\n{_END}{after}"


def _row(name: str, figures: dict[str, Any]) -> str:
    compiled = figures["compiled"]
    cells = [
        f"`{name}.py`",
        figures["topology"],
        figures["heading"].split(", ")[2].split(" ")[0],
        ", ".join(figures["choice"].split("  ")),
        f"{compiled['needed_bytes'] / GIB:.1f}, {compiled['available_bytes'] / GIB:.1f}",
        duration(compiled["step_seconds"]),
        f"{compiled['mfu']:.0%}",
        duration(compiled["scheduled_seconds"]),
        duration(compiled["serial_seconds"]),
    ]
    return f"| {' | '.join(cells)} |"


def same(name: str) -> bool:
    """Plan a recipe again and return whether what is run is the same as its file's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        planned(name, path)
        made, kept = (
            each.read_text().partition("\n\nfrom ")[2] for each in (path, ROOT / f"configs/{name}.py")
        )
    print(f"{name}: {'the same' if made == kept else 'ANOTHER CHOICE'}", flush=True)
    return made == kept


if __name__ == "__main__":
    sys.exit(main())
