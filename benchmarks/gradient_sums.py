"""How the gradients of every preset are summed over devices on every kind of mesh, by compiling.

    python -m benchmarks.gradient_sums                              all of them, for hours
    python -m benchmarks.gradient_sums --mesh fsdp --only t5 bert   a mesh, and presets whose names begin so

A preset is compiled for v5e:4x4 at its own widths and vocabulary, with two turns of its pattern of layers and
short rows, the first preset of each structure for all of that structure (``tests/compile/structures.py``).
Figures are kept in docs/data/gradient_sums.json, what is there already is not compiled again, and a table is
printed, in which ¶ marks what is summed whole and should not be. Needs libtpu (the ``test`` extra has it).
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from t5lite.models.presets import PRESETS
from tests.compile.steps import EXECUTION, compiled_step, parts
from tests.compile.structures import (
    BATCHES,
    MESHES,
    TOPOLOGY,
    few_layers,
    may_be_sent,
    structure,
    summed_whole,
    too_much,
)

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "data" / "gradient_sums.json"


def structures(mesh: str) -> dict[str, list[str]]:
    """Return the presets by the first one that has their structure on a mesh."""
    found: dict[Any, list[str]] = {}
    for name in PRESETS:
        key = structure(*parts(MESHES[mesh], few_layers(name), EXECUTION, TOPOLOGY))
        found.setdefault(key, []).append(name)
    return {names[0]: names for names in found.values()}


def figures(name: str, mesh: str) -> dict[str, Any]:
    """Compile a preset, and return the bytes that a device sends in sums, and what was summed whole."""
    config = few_layers(name)
    step = compiled_step(MESHES[mesh], config, batch=BATCHES[config.architecture], topology=TOPOLOGY)
    whole = summed_whole(step)
    scattered = [each for each in step.collectives if each.kind == "reduce-scatter"]
    return {
        "scattered": sum(each.total_bytes for each in scattered),
        "whole": sum(each.total_bytes for each in whole),
        "may_be_whole": may_be_sent(*parts(MESHES[mesh], config, EXECUTION, TOPOLOGY))["f32"],
        "too_much": too_much(whole, *parts(MESHES[mesh], config, EXECUTION, TOPOLOGY)),
        "largest_whole": [[each.total_bytes, each.dtype, each.source] for each in whole[:3]],
    }


def markdown(kept: dict[str, dict[str, Any]]) -> str:
    """Return the table: megabytes scattered, and summed whole of those that may be."""
    lines = [
        "| mesh | structure of | and of | MB scattered | MB summed whole | of vectors at most |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for mesh, rows in kept.items():
        for name, row in rows.items():
            numbers = (f"{row[key] / 1e6:,.1f}" for key in ("scattered", "whole", "may_be_whole"))
            mark = " ¶" if row["too_much"] else ""
            lines.append(
                f"| {mesh} | {name}{mark} | {len(row['presets']) - 1} more | {' | '.join(numbers)} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Compile what is asked for and not kept yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mesh", nargs="+", choices=MESHES, default=list(MESHES))
    parser.add_argument("--only", nargs="+", default=[""], metavar="BEGINNING")
    parser.add_argument("--again", action="store_true", help="compile what is kept, too")
    arguments = parser.parse_args()
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    for mesh in arguments.mesh:
        rows = kept.setdefault(mesh, {})
        for name, names in structures(mesh).items():
            asked = name.startswith(tuple(arguments.only)) and (arguments.again or name not in rows)
            if not asked:
                continue
            rows[name] = {**figures(name, mesh), "presets": names}
            FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            print(f"{mesh}: {name}", flush=True)
    print(markdown(kept))


if __name__ == "__main__":
    main()
