"""Compile the step of every shape of a sweep for a slice that is not here, beside what the planner predicts.

    python -m benchmarks.compiled_rungs                     # both sweeps of published ladders: an hour
    python -m benchmarks.compiled_rungs --only t5_efficient
    python -m benchmarks.compiled_rungs --only              # the table of the kept figures

Runs of one shape differ in steps and rate, which are no part of what is compiled, so that a shape is compiled
once, at the largest of its batches. Figures are kept in docs/data/compiled_rungs.json as they are known, and
those that are there are not compiled again. The rows are those of docs/reproductions.md. Needs libtpu (the
``test`` extra has it).
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from t5lite.models.config import ModelConfig
from t5lite.partitioning import make_partitioner
from t5lite.planning.compiled.roofline import roofline
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.hardware.topology import Topology, compile_only_devices, parse_topology
from t5lite.planning.predicted.cost_model import PlannedExecution
from t5lite.planning.report.table import duration
from t5lite.run_config import RunConfig
from t5lite.runner.compilation import compile_run
from t5lite.runner.planned_recipe import workload_of
from t5lite.scaling.counting import count_run
from t5lite.scaling.sweeps import expand, read_sweep

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "data" / "compiled_rungs.json"
SWEEPS = {"t5_efficient": "v5e:4x4", "chinchilla_ladder": "v5e:16x16"}
"""Sweeps of configs/sweeps, and what they are compiled for."""


def rungs(name: str) -> list[RunConfig]:
    """Return a run for each shape of a sweep, of its largest batch, the smallest shape first."""
    largest: dict[ModelConfig, RunConfig] = {}
    for run in expand(read_sweep(ROOT / "configs" / "sweeps" / f"{name}.py"), identity=str)[0]:
        kept = largest.setdefault(run.config.model, run.config)
        if run.config.training.batch_size > kept.training.batch_size:
            largest[run.config.model] = run.config
    return sorted(largest.values(), key=lambda config: count_run(config).params)


def figures(config: RunConfig, topology: Topology) -> dict[str, Any]:
    """Return what a rung needs, by the compiler and as predicted: bytes a device, seconds a step."""
    step = compile_run(config, topology).step
    time = roofline(step)
    return {
        "remat": config.execution.remat,
        "needed_bytes": step.memory.needed,
        "predicted_bytes": predicted_bytes(config, topology),
        "fits": step.fits,
        "step_seconds": time.step_seconds,
        "limiting": time.limiting,
        "scheduled_seconds": time.scheduled_seconds,
        "compile_seconds": step.compile_seconds,
    }


def predicted_bytes(config: RunConfig, topology: Topology) -> float:
    """Return what the planner says that a rung needs, bytes a device."""
    partitioner = make_partitioner(config.partitioning, compile_only_devices(topology))
    way = PlannedExecution(remat=config.execution.remat, num_microbatches=config.step.num_microbatches)
    return workload_of(config, topology).costs().on(partitioner).predict(way).memory.total


def shape_name(config: RunConfig) -> str:
    """Return the parameters of a rung, which tell the shapes of a sweep apart."""
    return f"{count_run(config).params / 1e6:,.1f}M"


def main() -> None:
    """Compile what is asked for and not kept, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SWEEPS, metavar="SWEEP", help=", ".join(SWEEPS))
    only: Sequence[str] | None = parser.parse_args().only
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    for name in SWEEPS if only is None else only:
        of_sweep = kept.setdefault(name, {})
        for config in rungs(name):
            if (shape := shape_name(config)) not in of_sweep:
                of_sweep[shape] = figures(config, parse_topology(SWEEPS[name]))
                FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
                print(f"{name} {shape}: {of_sweep[shape]['compile_seconds']:.0f} s", flush=True)
    print("\n".join(table(kept)))


def table(kept: dict[str, dict[str, dict[str, Any]]]) -> Iterator[str]:
    """Yield the rows of docs/reproductions.md."""
    columns = "sweep, topology", "parameters", "layers x width", "remat", "a chip", "predicted"
    yield f"| {' | '.join(columns)} | a step at least | as scheduled |"
    yield "|---|---:|---:|---|---:|---:|---:|---:|"
    for name, topology in SWEEPS.items():
        for config in rungs(name):
            if (found := kept.get(name, {}).get(shape_name(config))) is not None:
                yield f"| `{name}`, {topology} | {' | '.join(_cells(config, found))} |"


def _cells(config: RunConfig, found: dict[str, Any]) -> tuple[str, ...]:
    layers = " + ".join(map(str, config.model.layer_counts.values()))
    return (
        shape_name(config),
        f"{layers} x {config.model.embed_dim:,}",
        found["remat"],
        f"{found['needed_bytes'] / GIB:.2f} GiB" + ("" if found["fits"] else ", does not fit"),
        f"{found['predicted_bytes'] / GIB:.2f} GiB",
        f"{duration(found['step_seconds'])} ({found['limiting']})",
        duration(found["scheduled_seconds"]),
    )


if __name__ == "__main__":
    main()
