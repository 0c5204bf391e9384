"""One run goes on in other numbers of processes and devices, on other meshes, with other batch sizes.

Every start is ``t5lite launch local`` with real processes.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file

from t5lite.cli.main import main
from t5lite.cpu.malloc import malloc_tunables
from t5lite.data.pipeline import open_pipeline
from t5lite.run_config import load
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.step_examples import StepBatches, history_of, open_seen
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import REPOSITORY
from tests.e2e.observed_steps import FOLDER, observed_steps
from tests.unit.data.test_hosts import row_hashes

RECIPE = """
from dataclasses import replace

from t5lite.optim import Constant
from tests.e2e import tiny_mixture_recipe


def config():
    recipe = tiny_mixture_recipe.config()
    text, pairs = recipe.data.sources
    text = replace(text, data=replace(text.data, store={text!r}))
    pairs = replace(pairs, data=replace(pairs.data, store={pairs!r}))
    return replace(
        recipe,
        model=replace(recipe.model, vocab_size=641, dropout_rate=0.1),  # over no mesh axis
        data=replace(recipe.data, sources=(text, pairs)),
        schedule=Constant(value=0.01),
        training=replace(recipe.training, log_every_steps=1, eval_every_steps=None),
        evaluations={{}},
        checkpoints=replace(recipe.checkpoints, save_every_steps=100_000),
    )
"""
ENDLESS = 100_000


class Start(NamedTuple):
    """One start of a run, of ``num_processes`` with ``num_devices`` each."""

    num_processes: int
    num_devices: int
    mesh: tuple[str, ...]
    batch_size: int = 8
    num_microbatches: int = 1
    num_workers: int = 0

    def arguments(self, total_steps: int) -> list[str]:
        """Return what is not of processes and their devices."""
        return [
            *("--training.total-steps", str(total_steps), "--training.batch-size", str(self.batch_size)),
            *("--step.num-microbatches", str(self.num_microbatches)),
        ]


def _mesh(style: str, **axes: int) -> tuple[str, ...]:
    sizes = [word for name, size in axes.items() for word in (f"--partitioning.{name}", str(size))]
    return ("--partitioning.style", style, *sizes)


STARTS = (
    Start(4, 2, _mesh("tensor_parallel", fsdp=4, tensor=2)),
    Start(2, 4, _mesh("fsdp", replica=2, fsdp=4), batch_size=16, num_microbatches=2, num_workers=1),
    Start(1, 8, _mesh("data_parallel", fsdp=8)),
    Start(1, 1, _mesh("fsdp", fsdp=1), num_workers=1),
)


@pytest.fixture
def recipe(text_data: Path, pair_data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE.format(text=str(text_data / "train"), pairs=str(pair_data / "train")))
    return path


class Launched:
    """``t5lite launch local``, which writes down what its steps are given."""

    def __init__(self, start: Start, arguments: list[str], folder: Path) -> None:
        folder.mkdir()
        self.observed = folder / "observed"
        self.observed.mkdir()
        self._log = folder / "log.txt"
        python_path = [str(REPOSITORY / "tests" / "e2e" / "observed"), str(REPOSITORY)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*python_path, os.environ.get("PYTHONPATH", "")]),
            "GLIBC_TUNABLES": malloc_tunables(os.environ.get("GLIBC_TUNABLES", "")),  # else it starts twice
            FOLDER: str(self.observed),
        }
        command = [sys.executable, "-m", "t5lite.cli.main", "launch", "local", *arguments, *start.mesh]
        command += ["--num-processes", str(start.num_processes)]
        command += ["--devices-per-process", str(start.num_devices)]
        command += ["--loader.num-workers", str(start.num_workers)]
        # On a busy machine one process may be 30 s later than another for its first collective: exit code 75.
        command += ["--max-restarts", "2"]
        with self._log.open("w") as stream:
            self._launcher = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=stream, stderr=stream
            )

    @property
    def told(self) -> str:
        return self._log.read_text()

    def wait_for_step(self, step: int) -> None:
        """Return when a step later than ``step`` was given its examples."""
        first = self.observed / "0.jsonl"
        deadline = time.monotonic() + 600
        while not (first.exists() and f'"step": {step},' in first.read_text()):
            assert self._launcher.poll() is None, self.told
            assert time.monotonic() < deadline, self.told
            time.sleep(0.05)

    def terminate(self) -> None:
        self._launcher.terminate()

    def end(self) -> int:
        """Return how it ended; of what does not, nothing is left."""
        try:
            return self._launcher.wait(timeout=600)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running: {self.told}")
        finally:
            while self._launcher.poll() is None:  # its second SIGTERM kills its processes
                self._launcher.terminate()
                time.sleep(0.5)


def _losses(run: Path) -> list[float]:
    return [entry["loss"] for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] == "train"]


@pytest.mark.fault(
    "a run goes on with another batch size, microbatching, mesh or number of hosts",
    "goes on at the next example, said",
    0,
)
@pytest.mark.slow
def test_other_processes_meshes_and_batch_sizes_see_the_same_examples_in_order_with_the_same_losses(
    recipe: Path, tmp_path: Path
) -> None:
    """4 x 2 (processes x devices), 2 x 4 until SIGTERM, 1 x 8, 1 x 1; and the same on one device.

    Of 641 rows, which no mesh divides; as many are exported.
    """
    run = tmp_path / "run[4-2]"  # a pattern, were it not taken as it is
    common = ["--config", str(recipe), "--run-dir", str(run)]
    seen: dict[int, list[str]] = {}
    ends: list[int] = []
    for number, start in enumerate(STARTS):
        is_stopped = start.num_processes == 2
        first_step = ends[-1] if ends else 0
        total_steps = ENDLESS if is_stopped else first_step + 2
        arguments = [*common, *start.arguments(total_steps)]
        launched = Launched(start, arguments, tmp_path / f"{start.num_processes}x{start.num_devices}")
        if is_stopped:
            launched.wait_for_step(first_step + 2)
            launched.terminate()
        assert launched.end() == (128 + signal.SIGTERM if is_stopped else 0), launched.told
        ends.append(max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal()))
        steps = observed_steps(launched.observed, num_processes=start.num_processes)
        assert list(steps) == list(range(first_step, ends[-1])), launched.told
        assert all(len(examples) == start.batch_size for examples in steps.values())
        seen |= steps
        if number:
            assert f"resuming from step {first_step}" in launched.told
        if is_stopped:
            assert f"stopped at step {ends[-1]}, saved; to go on (on every process): t5lite train" in (
                launched.told
            )
    in_order = [example for step in sorted(seen) for example in seen[step]]
    config = load(recipe, [])
    stream = open_pipeline(config.data, architecture=config.model.architecture, seed=config.seed)
    assert in_order == row_hashes(stream.rows(np.arange(len(in_order))))
    directory = RunDirectory.at(str(run))
    again = open_seen(config, directory)
    batches = StepBatches.of(directory.read_config(), history_of(directory), lambda: again)
    for step, examples in seen.items():
        batch = batches.batch(step + 1)
        assert row_hashes(again.batch(batch.start, batch_size=batch.size)) == examples

    alone = tmp_path / "alone"
    for start, end in zip(STARTS[:3], [*ends[:2], ends[3]], strict=True):
        arguments = ["--config", str(recipe), "--run-dir", str(alone), *start.arguments(end)]
        assert main(["train", *arguments]) == 0
    exported = tmp_path / "exported"
    assert main(["export", "--run", str(run), "--output", str(exported)]) == 0
    weights = load_file(exported / "model.safetensors")
    assert weights["shared.weight"].shape[0] == weights["lm_head.weight"].shape[0] == 641
    elastic = _losses(run)
    assert len(elastic) == ends[-1]
    np.testing.assert_allclose(elastic[:5], _losses(alone)[:5], rtol=1e-5)
    np.testing.assert_allclose(elastic, _losses(alone), rtol=1e-4)  # the number of steps varies
