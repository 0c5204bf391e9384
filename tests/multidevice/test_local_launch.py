"""``t5lite launch local`` with real training: two processes of four devices do what one of eight does."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from t5lite.data.prepare import write_text_store
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.quickstart.corpus import austen

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMPARED_STEPS = 6
RECIPE = """
from dataclasses import replace
from pathlib import Path

from t5lite.optim import Constant
from t5lite.quickstart.recipes import RECIPES


def config():
    recipe = replace(RECIPES["six-minutes"], vocabulary_size=400)
    quickstart = recipe.pretraining_config(Path({directory!r}), seed=3)
    return replace(
        quickstart,
        model=replace(quickstart.model, dropout_rate=0.1, scan_unroll=1),
        schedule=Constant(value=0.01),
        training=replace(quickstart.training, batch_size=16, log_every_steps=1, eval_every_steps=None),
        evaluation=replace(quickstart.evaluation, batch_size=16, max_examples=32),
        checkpoints=replace(quickstart.checkpoints, save_every_steps=100_000),
    )
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A recipe of the quickstart's model on a few of its paragraphs."""
    directory = tmp_path_factory.mktemp("local-launch")
    texts = [paragraph.text for paragraph in austen()[:600]]
    train_vocabulary(texts, directory / "spiece.model", size=400)
    vocabulary = SentencePieceVocabulary(directory / "spiece.model")
    stores = directory / "data" / "pretrain"
    write_text_store(texts[:500], vocabulary, stores / "train", num_threads=1)
    write_text_store(texts[500:], vocabulary, stores / "heldout", num_threads=1)
    path = directory / "recipe.py"
    path.write_text(RECIPE.format(directory=str(directory)))
    return path


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The environment in which this checkout is what is imported, whether it is installed or not."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": python_path}


def launch(
    shape: tuple[int, int], recipe: Path, run_dir: Path, *, total_steps: int, environment: dict[str, str]
) -> tuple[subprocess.Popen, Path]:
    """Start ``shape`` = (processes, devices of each); return the launcher and the file of its messages."""
    command = [sys.executable, "-m", "t5lite.cli.main", "launch", "local", "--config", str(recipe)]
    command += ["--num-processes", str(shape[0]), "--devices-per-process", str(shape[1])]
    command += ["--run-dir", str(run_dir), "--training.total-steps", str(total_steps)]
    log = run_dir.with_suffix(f".{shape[0]}x{shape[1]}.log")
    with log.open("w") as stream:
        return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream), log


def stop(launcher: subprocess.Popen) -> None:
    """End a launcher that should have ended: its second SIGTERM kills its processes."""
    while launcher.poll() is None:
        launcher.terminate()
        time.sleep(0.5)


def finish(launcher: subprocess.Popen, log: Path, *, seconds: int = 240) -> int:
    try:
        return launcher.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {seconds} s:\n{log.read_text()}")
    finally:
        stop(launcher)


def losses(run_dir: Path, kind: str) -> np.ndarray:
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return np.array([entry["loss"] for entry in map(json.loads, lines) if entry["kind"] == kind])


class Stopped(NamedTuple):
    """A run of two processes that got SIGTERM, and the exit code of its launcher."""

    run_dir: Path
    step: int
    exit_code: int
    messages: str


@pytest.fixture(scope="module")
def stopped(recipe, environment) -> Stopped:
    run_dir = recipe.parent / "stopped[2-4]"  # a pattern, were it not taken as it is
    launcher, log = launch((2, 4), recipe, run_dir, total_steps=5000, environment=environment)
    deadline = time.monotonic() + 240
    while len(losses(run_dir, "train")) < COMPARED_STEPS and launcher.poll() is None:
        if time.monotonic() > deadline:
            stop(launcher)
            pytest.fail(f"no steps in 240 s:\n{log.read_text()}")
        time.sleep(0.1)
    launcher.send_signal(signal.SIGTERM)
    exit_code = finish(launcher, log)
    step = max(int(path.name) for path in (run_dir / "checkpoints").iterdir() if path.name.isdecimal())
    return Stopped(run_dir, step, exit_code, log.read_text())


@pytest.fixture(scope="module")
def one_process(recipe, environment, stopped) -> Path:
    run_dir = recipe.parent / "one-process"
    launcher, log = launch((1, 8), recipe, run_dir, total_steps=stopped.step + 3, environment=environment)
    assert finish(launcher, log) == 0, log.read_text()
    return run_dir


def test_two_processes_train_like_one(stopped, one_process):
    two, one = (losses(run, "train")[:COMPARED_STEPS] for run in (stopped.run_dir, one_process))
    assert len(two) == COMPARED_STEPS
    np.testing.assert_allclose(two, one, rtol=1e-5)
    np.testing.assert_allclose(losses(stopped.run_dir, "eval")[0], losses(one_process, "eval")[0], rtol=1e-5)


def test_sigterm_stops_both_after_the_same_step_and_saves(stopped):
    assert stopped.exit_code == 128 + signal.SIGTERM, stopped.messages
    assert stopped.step >= COMPARED_STEPS
    told = f"stopped at step {stopped.step}, saved; to go on (on every process): t5lite train"
    assert told in stopped.messages


def test_one_process_goes_on_where_two_stopped(recipe, environment, stopped, one_process):
    total_steps = stopped.step + 3
    launcher, log = launch((1, 8), recipe, stopped.run_dir, total_steps=total_steps, environment=environment)
    assert finish(launcher, log) == 0, log.read_text()
    assert f"resuming from step {stopped.step}" in log.read_text()
    resumed, uninterrupted = losses(stopped.run_dir, "train"), losses(one_process, "train")
    assert len(resumed) == len(uninterrupted) == total_steps
    np.testing.assert_allclose(resumed, uninterrupted, rtol=1e-4)  # the number of steps varies
