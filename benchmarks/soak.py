"""Does a long run grow? Memory, descriptors, threads and objects over many steps, saves and evaluations.

    python benchmarks/soak.py --text some.txt

trains the tiny model of the tests with a save every 100 steps and an evaluation every 500, and prints what
the process holds ten times on the way. Its first half is left out of the verdict: caches fill in it.
"""

import argparse
import gc
import os
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from t5lite.cli.main import main as t5lite
from t5lite.run_config import load
from t5lite.runner.training import train
from t5lite.training.telemetry import Telemetry

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "tests" / "e2e" / "tiny_recipe.py"


def held() -> dict[str, float]:
    """Return what this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "MiB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "native threads": len(os.listdir("/proc/self/task")),
        "objects": len(gc.get_objects()),
    }


def main() -> int:
    """Train, print, and return 1 if anything grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--text", type=Path, required=True, help="a text file to prepare")
    options = parser.parse_args()
    samples: list[dict[str, float]] = []
    write_entry = Telemetry.write_entry
    every = options.steps // 10

    def write_and_look(telemetry: Telemetry) -> None:
        step = telemetry._window.step
        write_entry(telemetry)
        if step and step % every == 0:
            gc.collect()
            samples.append(held())
            print(f"step {step}: " + ", ".join(f"{n} {v:,.0f}" for n, v in samples[-1].items()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        prepared = [
            "prepare",
            "text",
            "--inputs",
            str(options.text),
            "--output",
            str(data),
            "--vocabulary-size",
            "500",
        ]
        prepared += ["--heldout-fraction", "0.1"]
        if t5lite(prepared):
            return 2
        config = load(RECIPE, [])
        config = replace(
            config,
            run_dir=f"{folder}/run",
            data=replace(config.data, store=str(data / "train")),
            evaluations={"heldout": replace(config.evaluations["heldout"], store=str(data / "heldout"))},
            training=replace(config.training, total_steps=options.steps, eval_every_steps=500),
            checkpoints=replace(config.checkpoints, save_every_steps=100),
        )
        Telemetry.write_entry = write_and_look
        train(config)
    first, last = samples[len(samples) // 2], samples[-1]
    grown = {name: last[name] - first[name] for name in first if last[name] > 1.02 * first[name] + 1}
    print("grown:", ", ".join(f"{name} by {value:,.0f}" for name, value in grown.items()) or "nothing")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
