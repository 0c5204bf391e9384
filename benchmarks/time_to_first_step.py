"""Seconds from the start of ``t5lite train`` until its first step is done, on the quickstart's model.

Every run is a process of its own: *cold* with an empty compilation cache, *warm* with the cache that the cold
run left. The end is when the metrics file has the first step's entry; compilation is what that file says;
imports are timed alone; the rest is opening the data, making the state, and the step itself.

    python benchmarks/time_to_first_step.py
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from t5lite.data.prepare import write_text_store
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.optim import Constant
from t5lite.quickstart import corpus, stages
from t5lite.quickstart.recipes import EXTRA_IDS, SIX_MINUTES
from t5lite.run_config import to_json
from t5lite.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
IMPORT = "import t5lite.cli.train_command"


def write_recipe(directory: Path) -> Path:
    """Write a vocabulary, a token store and the recipe of one step; return the recipe's path."""
    texts = corpus.pretraining_texts(stages.split_corpus().train)[:5000]
    train_vocabulary(texts, stages.vocabulary_file(directory), size=SIX_MINUTES.vocabulary_size)
    vocabulary = SentencePieceVocabulary(stages.vocabulary_file(directory), EXTRA_IDS)
    write_text_store(texts, vocabulary, directory / "data" / "pretrain" / "train", overwrite=True)
    config = SIX_MINUTES.pretraining_config(directory, seed=0)
    config = dataclasses.replace(
        config,
        training=TrainingConfig(total_steps=1, batch_size=config.training.batch_size, log_every_steps=1),
        schedule=Constant(value=0.01),
        evaluations={},
    )
    recipe = directory / "config.json"
    recipe.write_text(json.dumps(to_json(config)), encoding="utf-8")
    return recipe


def first_step(recipe: Path, run_dir: Path, cache: Path) -> tuple[float, float]:
    """Return the seconds until the first step's entry is there, and those of compilation in it."""
    command = [
        sys.executable,
        "-m",
        "t5lite.cli.main",
        "train",
        "--config",
        str(recipe),
        "--run-dir",
        str(run_dir),
    ]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    metrics = run_dir / "metrics.jsonl"
    while not (metrics.exists() and '"kind": "train"' in metrics.read_text(encoding="utf-8")):
        if process.poll():
            raise SystemExit(process.communicate()[1])
        time.sleep(0.005)
    seconds = time.perf_counter() - start
    process.communicate()
    entries = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return seconds, next(entry["compile_seconds"] for entry in entries if entry["kind"] == "start")


def import_seconds() -> float:
    """Return the seconds that an interpreter takes to start and import the command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True, cwd=ROOT)
    return time.perf_counter() - start


def main() -> None:
    """Measure in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    rows: dict[str, list[tuple[float, ...]]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as scratch:
        recipe = write_recipe(Path(scratch))
        for number in range(rounds):
            cache = Path(scratch, f"cache{number}")
            for name, times in rows.items():
                total, compilation = first_step(recipe, Path(scratch, f"{name}{number}"), cache)
                importing = import_seconds()
                times.append((importing, compilation, total - importing - compilation, total))
    print(f"{'':6}{'import':>9}{'compile':>9}{'the rest':>10}{'total':>9}   seconds, medians of {rounds}")
    for name, times in rows.items():
        imported, compiled, rest, total = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:6}{imported:9.1f}{compiled:9.1f}{rest:10.1f}{total:9.1f}")


if __name__ == "__main__":
    main()
