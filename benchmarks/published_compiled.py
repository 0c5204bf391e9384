"""Compile the public runs of ``published_speeds``, and keep how long a step takes at least by the compiler.

    python -m benchmarks.published_compiled                     every run on TPUs
    python -m benchmarks.published_compiled --only Llama GPT    those whose names have one of these words

Figures are kept in docs/data/published_compiled.json, for the table of docs/planning.md
(``benchmarks.planned_presets``). Needs libtpu (the ``test`` extra has it); a run takes 10 to 300 s.
"""

import argparse
import json
import os
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from benchmarks.published_speeds import COMPILED, RUNS, PublishedRun
from t5lite.models import config
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.partitioning import make_partitioner
from t5lite.planning.compiled.compile import CompiledStep, compile_step
from t5lite.planning.compiled.roofline import roofline
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology
from t5lite.training.config import StepConfig


def compile_published(run: PublishedRun) -> CompiledStep:
    """Compile this project's step in a run's setting; attention is computed as on the platform."""
    topology = parse_topology(run.topology)
    way = run.compiled_as
    execution = config.Execution(compute_dtype="bfloat16", remat=way.remat, remat_names=way.kept)
    model = build(run.model, execution)
    optimizer = AdamWConfig().build(Constant().build(1), model.logical_axes)
    partitioner = make_partitioner(run.partitioning, compile_only_devices(topology))
    step = StepConfig(num_microbatches=way.num_microbatches)
    return compile_step(model, optimizer, partitioner, topology, run.batch, step)


def figures(step: CompiledStep) -> dict[str, Any]:
    """Return what is kept of a compiled run."""
    time = roofline(step)
    return {
        "seconds": time.seconds,
        "scheduled_seconds": time.scheduled_seconds,
        "serial_seconds": time.serial_seconds,
        "flops": step.flops,
        "model_flops": step.model_flops,
        "memory_bytes": step.memory.needed,
        "fits": step.fits,
        "compiler_options": dict(step.compiler_options),
    }


def main() -> None:
    """Compile what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="part of a run's name")
    words = parser.parse_args().only or [""]
    kept = json.loads(COMPILED.read_text(encoding="utf-8")) if COMPILED.exists() else {}
    for run in RUNS:
        if run.topology.startswith("a100") or not any(word in run.name for word in words):
            continue
        kept[run.title] = {"compiled_as": run.compiled_as.words, **figures(compile_published(run))}
        COMPILED.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{run.title}: {max(kept[run.title]['seconds'].values()):.2f} s", flush=True)


if __name__ == "__main__":
    main()
