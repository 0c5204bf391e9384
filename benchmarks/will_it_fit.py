"""Writes the figures of docs/will_it_fit.md, from real compiles of a recipe for TPU slices that are not here.

    python benchmarks/will_it_fit.py                         every case
    python benchmarks/will_it_fit.py --only base xxl-v5p     these; the others' figures are kept
    python benchmarks/will_it_fit.py --only                  the page alone

Each case is a ``t5lite compile`` in a process of its own; figures are kept in docs/data/will_it_fit.json.
Needs libtpu (the ``test`` extra has it).
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from t5lite.planning.report.pictures import memory_picture, time_picture
from t5lite.planning.report.table import duration, mesh, size

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "will_it_fit.md"
FIGURES = ROOT / "docs" / "data" / "will_it_fit.json"
IMAGES = ROOT / "docs" / "images"
RECIPE = "configs/t5_1_1_base_span_corruption.py"


class Case(NamedTuple):
    """A command, and what the page calls it."""

    title: str
    arguments: str


CASES = {
    "base": Case("T5 1.1 base, 128 rows", "--topology v5e:4x4"),
    "base-two-slices": Case(
        "T5 1.1 base, 256 rows, two slices",
        "--topology v5e:4x4 --num-slices 2 --partitioning.replica 2 --training.batch-size 256",
    ),
    "base-too-large": Case(
        "T5 1.1 base, 1,024 rows, no remat",
        "--topology v5e:2x2 --training.batch-size 1024 --execution.remat none",
    ),
    "large": Case(
        "T5 1.1 large, 512 rows", "--model t5-1.1-large --topology v5e:8x8 --training.batch-size 512"
    ),
    "large-v6e": Case(
        "T5 1.1 large, 512 rows", "--model t5-1.1-large --topology v6e:4x8 --training.batch-size 512"
    ),
    "xl": Case(
        "T5 1.1 XL, 2,048 rows",
        "--model t5-1.1-xl --topology v5e:16x16 --training.batch-size 2048 --execution.remat gathered",
    ),
    "xxl-v5p": Case(
        "T5 1.1 XXL, 2,048 rows",
        "--model t5-1.1-xxl --topology v5p:4x4x8 --training.batch-size 2048 --execution.remat gathered",
    ),
    "xxl": Case(
        "T5 1.1 XXL, 2,048 rows",
        "--model t5-1.1-xxl --topology v5e:16x16 --training.batch-size 2048 --execution.remat dots",
    ),
    "xxl-v5e": Case(
        "T5 1.1 XXL, 512 rows, sequence-sharded residuals",
        "--model t5-1.1-xxl --topology v5e:16x16 --training.batch-size 512 --execution.remat full "
        "--partitioning.tensor 16 --partitioning.style sequence_parallel",
    ),
}


def main() -> None:
    """Compile what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*CASES], metavar="CASE", help=", ".join(CASES))
    chosen = parser.parse_args().only
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    names = list(CASES) if chosen is None else chosen
    start = time.perf_counter()
    for done, name in enumerate(names, start=1):
        figures[name] = compiled(CASES[name])
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{done}/{len(names)} {name}, {time.perf_counter() - start:.0f} s", flush=True)
    for name, text in files(figures).items():
        (ROOT / name).write_text(text, encoding="utf-8")


def compiled(case: Case) -> dict[str, Any]:
    """Run a case's command, and return what it prints as JSON and as a table."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "t5lite.cli.main", *shlex.split(arguments(case)), "--top", "6", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{shlex.join(command)}: {done.stderr[-2000:]}")
    summary = json.loads(done.stdout)
    del summary["compile_seconds"]  # of a machine, not of the program
    return summary


def arguments(case: Case) -> str:
    """Return the words after ``t5lite``."""
    return f"compile --config {RECIPE} {case.arguments}"


def files(figures: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the page and its pictures by path, for the cases whose figures are there."""
    known = {name: figures[name] for name in CASES if name in figures}
    texts = {str(PAGE.relative_to(ROOT)): page(known)}
    for name, summary in known.items():
        texts[f"docs/images/will_it_fit_{name}_memory.svg"] = memory_picture(summary) + "\n"
        texts[f"docs/images/will_it_fit_{name}_time.svg"] = time_picture(summary) + "\n"
    return texts


def page(figures: dict[str, dict[str, Any]]) -> str:
    """Return the page, its parts between marks written anew."""
    parts = {
        "overview": _overview(figures),
        "cases": "\n\n".join(_section(*each) for each in figures.items()),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- {name}: python benchmarks/will_it_fit.py -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{part}\n{end}{after}"
    return text


def _overview(figures: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| | topology | mesh | memory | of | step at least | bound by | MFU at most | as scheduled "
        "| if nothing overlaps |",
        "|---|---|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for name, summary in figures.items():
        memory, spent = summary["memory"], summary["time"]
        fits = size(memory["needed"]) if summary["fits"] else f"**{size(memory['needed'])}**"
        cells = [
            f"[{CASES[name].title}](#{name})",
            summary["topology"],
            mesh(summary),
            fits,
            size(memory["available"]),
            duration(spent["step"]),
            spent["limiting"],
            f"{spent['mfu']:.0%}",
            f"{duration(spent['scheduled'])}, {spent['scheduled_mfu']:.0%}",
            f"{duration(spent['serial'])}, {spent['serial_mfu']:.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _section(name: str, summary: dict[str, Any]) -> str:
    case = CASES[name]
    verdict = (
        "It fits." if summary["fits"] else "**It does not fit** (exit code 3). What the command advises:"
    )
    advice = [f"- {remedy}" for remedy in summary["advice"]]
    largest = summary["buffers"][0]
    where = largest["source"] or largest["op_name"]
    return "\n".join(
        [
            f'## <a id="{name}"></a>{case.title} on {summary["topology"]}',
            "",
            "```",
            f"t5lite {arguments(case)}".replace(" --model", " \\\n  --model", 1),
            "```",
            "",
            verdict,
            *advice,
            "",
            f"![Memory of a device](images/will_it_fit_{name}_memory.svg)",
            "",
            f"![Time of a step](images/will_it_fit_{name}_time.svg)",
            "",
            f"Largest in memory: {size(largest['bytes'])} of {largest['kind']}, {largest['count']} x "
            f"`{largest['shape']}`, from `{where}`. Counted FLOPs are "
            f"{summary['flops']['counted_over_model']:.3f} of the model's own.",
        ]
    )


if __name__ == "__main__":
    main()
