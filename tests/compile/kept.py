"""Real programs that are kept: what the compiler made of two steps, and what is counted in them.

They are read without a compiler, so that every run of the tests counts real programs. After a change of the
counting that is meant:

    python -m tests.compile.kept               writes the figures anew, of the programs as they are
    python -m tests.compile.kept --compile     and before that the programs, by today's code (two minutes)
"""

import argparse
import functools
import json
import lzma
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.published_compiled import compile_published
from benchmarks.published_speeds import RUNS, PublishedRun
from t5lite.planning.compiled import hlo, hlo_costs
from t5lite.planning.compiled.collectives import collectives, located
from t5lite.planning.compiled.compile import CompiledStep
from t5lite.planning.compiled.network import Network
from t5lite.planning.compiled.roofline import roofline
from t5lite.planning.compiled.timeline import timeline
from t5lite.planning.compiled.traffic import transfers
from t5lite.planning.hardware.topology import parse_topology
from t5lite.run_config import load
from t5lite.runner.compilation import compile_run
from tests.compile.steps import and_text
from tests.unit.planning import handmade

_ROOT = Path(__file__).parents[2]
DIRECTORY = _ROOT / "tests" / "golden" / "compiled"
FIGURES = DIRECTORY / "figures.json"
BASE, LLAMA = "t5-1.1-base", "llama3.1-8b"


def published() -> PublishedRun:
    """The public run that is kept."""
    return next(run for run in RUNS if run.name == "Llama 3.1 8B")


def _base() -> CompiledStep:
    recipe = _ROOT / "configs" / "t5_1_1_base_span_corruption.py"
    return compile_run(load(recipe), parse_topology("v5e:4x4")).step


COMPILED: dict[str, Callable[[], CompiledStep]] = {
    BASE: _base,
    LLAMA: lambda: compile_published(published()),
}


def figures() -> dict[str, Any]:
    """What is kept of every program besides its text: where it runs, and what was counted."""
    return json.loads(FIGURES.read_text(encoding="utf-8"))


@functools.cache
def module(name: str) -> hlo.Module:
    """Return a kept program."""
    return hlo.parse(text(name))


def step(name: str) -> CompiledStep:
    """Return the step of a kept program, counted anew; its memory is not kept, and nobody's."""
    kept = figures()[name]
    topology = parse_topology(kept["topology"])
    program, chip = module(name), topology.chip
    places = tuple(tuple(map(int, place.split("."))) for place in kept["places"].split())
    costs = hlo_costs.Costs(
        program, flops_per_second=chip.flops_per_second, memory_bandwidth=chip.memory_bandwidth
    )
    network = Network(topology, places)
    return replace(
        handmade.step(),
        topology=topology,
        mesh=kept["mesh"],
        places=places,
        products=tuple(hlo_costs.products(program)),
        model_flops=kept["model_flops"],
        transfers=tuple(transfers(program)),
        serial_seconds=hlo_costs.serial_seconds(program, costs),
        collectives=collectives(program, kept["mesh"]),
        timeline=timeline(program, costs, located(program, kept["mesh"]), network),
    )


def counted(step: CompiledStep) -> dict[str, Any]:
    """What is counted in a step: FLOPs, bytes, seconds, and what is sent by kind and axes."""
    time, sent = roofline(step), Counter()
    for each in step.collectives:
        sent[f"{each.kind} over {'+'.join(each.axes)}"] += each.total_bytes
    return {
        "flops": step.flops,
        "memory_traffic": step.memory_traffic,
        "seconds": time.seconds,
        "scheduled_seconds": time.scheduled_seconds,
        "serial_seconds": time.serial_seconds,
        "sent": dict(sorted(sent.items())),
    }


def _path(name: str) -> Path:
    return DIRECTORY / f"{name}.hlo.xz"


def kernels(program: str) -> Counter[str]:
    """Return how often a program calls each of t5lite's kernels."""
    return Counter(re.findall(r'"tpu_custom_call".*op_name="[^"]*/([^/"]+)/pallas_call"', program))


def text(name: str) -> str:
    """Return a kept program as it is written."""
    with lzma.open(_path(name), "rt", encoding="utf-8") as stream:
        return stream.read()


def _compile(name: str) -> dict[str, Any]:
    """Compile a program, keep its text without this machine's folders, and return where it runs."""
    step, written = and_text(COMPILED[name])
    portable = re.sub(r'"/[^"]*?((?:/t5lite|/site-packages)/[^"]*|/[^"/]*)"', r'"\1"', written)
    with lzma.open(_path(name), "wt", encoding="utf-8", preset=9) as stream:
        stream.write(portable)
    return {
        "topology": str(step.topology),
        "mesh": step.mesh,
        "places": " ".join(".".join(map(str, place)) for place in step.places),
        "model_flops": step.model_flops,
    }


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--compile", action="store_true", help="the programs, too")
    compiles = parser.parse_args().compile
    kept = {name: _compile(name) for name in COMPILED} if compiles else figures()
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for name in kept:
        kept[name]["counted"] = counted(step(name))
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
