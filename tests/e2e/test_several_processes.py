"""Misfortunes of a run of two processes: what befalls one of them, both come to terms with alike."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from t5lite.checkpointing.reading import available_steps, read_metadata
from t5lite.cli.main import main
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import REPOSITORY

pytestmark = pytest.mark.slow
SHORT = [
    *("--training.total-steps", "24", "--evaluations", "None"),
    *("--checkpoints.save-every-steps", "5", "--training.max-nonfinite-steps", "3"),
]
NO_SPACE = {"0": {"15": "file", "20": "file"}, "1": {"5": "file", "15": "file"}}
"""Saves that fail in one process, in both, and in the leader alone."""
POISONED = (96, 119)
"""Places of the batches of steps 13 to 15."""


class Ended(NamedTuple):
    """How both processes ended, and what each said."""

    exit_codes: tuple[int, int]
    said: tuple[str, str]


def run_two(arguments: list[str], *program: str) -> Ended:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *program, *arguments, *together, str(process)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        said = [process.communicate(timeout=600)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return Ended((processes[0].returncode, processes[1].returncode), (said[0], said[1]))


def misfortunes(no_space: dict[str, dict[str, str]], poisoned: tuple[int, int]) -> list[str]:
    """The program of ``run_two`` in which saves fail and examples are NaN."""
    return ["tests.e2e.unlucky_training", json.dumps(no_space), *map(str, poisoned)]


class Run(NamedTuple):
    directory: Path
    ended: Ended


@pytest.fixture(scope="module")
def unlucky(train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose saves fail here and there, and which is poisoned."""
    directory = tmp_path_factory.mktemp("unlucky") / "run"
    arguments = [*train_arguments, *SHORT, "--run-dir", str(directory)]
    ended = run_two(arguments, *misfortunes(NO_SPACE, POISONED))
    return Run(directory, ended)


def test_a_save_that_fails_in_one_process_is_tried_again_by_both(unlucky: Run):
    directory, ended = unlucky
    assert ended.exit_codes == (0, 0), ended.said
    leader, other = ended.said
    assert "step 5 is not saved (process 1: " in leader
    assert "step 15 is not saved (" in leader
    assert "step 20 is not saved (" in leader
    assert leader.count("failed saves in a row: 1; ") == leader.count("saved again; failed saves before") == 3
    assert "not saved" not in other
    assert available_steps(directory / "checkpoints")[-1] == 24
    assert not list((directory / "checkpoints").glob("*tmp*"))
    entries = [entry for entry in read_metrics(directory / "metrics.jsonl") if entry["kind"] == "train"]
    assert [(entry["step"], entry["nonfinite"]) for entry in entries] == [(n, 0) for n in range(1, 25)]


@pytest.mark.fault(
    "the numbers go bad in a run of several processes",
    "all go back to the same checkpoint and leave out the same examples, recorded once",
    0,
)
def test_both_roll_back_to_the_same_checkpoint(unlucky: Run):
    directory, ended = unlucky
    (rollback,) = json.loads((directory / "rollbacks.json").read_text())["rollbacks"]
    assert (rollback["to_step"], rollback["first_example"], rollback["last_example"]) == (10, 88, 119)
    assert ended.said[0].count("going back to step 10, without the examples 88 to 119") == 1
    metadata = read_metadata(directory / "checkpoints", 24)
    assert (metadata["examples_seen"], metadata["left_out"]) == (192, [[88, 120]])


def test_an_evaluation_by_two_is_that_of_one_and_the_leader_alone_writes_it(
    imported: Path, pair_data: Path, tmp_path: Path
):
    """Seven examples in batches of four: one row fills up."""
    options = ["evaluate", "--run", str(imported), "--store", str(pair_data / "heldout")]
    options += ["--task", "translation", "--max-examples", "7", "--batch-size", "4", "--inputs-length", "24"]
    found = []
    for name in ("one.jsonl", "two.jsonl"):
        arguments = [*options, "--predictions", str(tmp_path / name)]
        if name.startswith("one"):
            assert main(arguments) == 0
        else:
            ended = run_two(arguments, "t5lite.cli.main")
            assert ended.exit_codes == (0, 0), ended.said
            assert [said.count("7 examples in batches of 4") for said in ended.said] == [1, 0]
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        found.append((json.loads((imported / "evaluation.json").read_text()), lines))
    (one, alone), (two, together) = found
    assert len({line["example"] for line in together}) == 7
    assert together == alone
    # encoder_use is a small difference of two losses
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-6, abs=1e-6)
    assert two["intervals"]["loss"] == pytest.approx(one["intervals"]["loss"])
    assert two["notes"] == one["notes"]
    assert len(list((imported / "evaluations").glob("*.json"))) == 1
