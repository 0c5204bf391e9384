"""Several processes: what befalls one of a run all come to terms with alike; and they measure as one does."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from t5lite.checkpointing.reading import available_steps, read_metadata
from t5lite.cli.main import main
from t5lite.quickstart import corpus
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import REPOSITORY
from tests.parity.test_texts_of_imported_models import make_folder

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
    """How the processes ended, and what each said."""

    exit_codes: tuple[int, ...]
    said: tuple[str, ...]


def run_together(num_processes: int, arguments: list[str], *program: str) -> Ended:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", str(num_processes)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *program, *arguments, *together, "--process-id", str(process)],
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(num_processes)
    ]
    try:
        said = [process.communicate(timeout=600)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return Ended(tuple(process.returncode for process in processes), tuple(said))


def misfortunes(no_space: dict[str, dict[str, str]], poisoned: tuple[int, int]) -> list[str]:
    """The program of ``run_together`` in which saves fail and examples are NaN."""
    return ["tests.e2e.unlucky_training", json.dumps(no_space), *map(str, poisoned)]


class Run(NamedTuple):
    directory: Path
    ended: Ended


@pytest.fixture(scope="module")
def unlucky(train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose saves fail here and there, and which is poisoned."""
    directory = tmp_path_factory.mktemp("unlucky") / "run"
    arguments = [*train_arguments, *SHORT, "--run-dir", str(directory)]
    ended = run_together(2, arguments, *misfortunes(NO_SPACE, POISONED))
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


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """An imported encoder with three classes."""
    make_folder("RobertaForSequenceClassification", tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    config["id2label"] = {"0": "English", "1": "Spanish", "2": "neither"}
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    run = tmp_path / "classifier"
    assert main(["import", "--from", str(tmp_path / "hf"), "--output", str(run)]) == 0
    return run


@pytest.fixture
def languages(classifier: Path, tmp_path: Path) -> Path:
    """A store of verses and the language they are in."""
    verses = corpus.verses()[:9]
    rows = [row for v in verses for row in (f"{v.english}\tEnglish", f"{v.spanish}\tSpanish")]
    (tmp_path / "verses.tsv").write_text("\n".join(rows), encoding="utf-8")
    words = ["--inputs", str(tmp_path / "verses.tsv"), "--output", str(tmp_path / "languages")]
    words += ["--vocabulary", str(classifier), "--heldout-fraction", "0.4"]
    assert main(["prepare", "pairs", *words, "--inputs-field", "0", "--targets-field", "1"]) == 0
    return tmp_path / "languages" / "heldout"


def test_an_evaluation_by_three_is_that_of_one_and_the_leader_alone_writes_it(
    imported: Path, pair_data: Path, classifier: Path, languages: Path, tmp_path: Path
):
    """Seven texts in batches of six, by beam search, and two classes in one of three: not all have a row."""
    task, beams = tmp_path / "task.json", {"strategy": "beam", "num_beams": 2}
    task.write_text(json.dumps({"name": "beams", "metrics": ["bleu"], "decoding": beams}))
    writing = ["--store", str(pair_data / "heldout"), "--task", str(task), "--inputs-length", "24"]
    options = {
        imported: [*writing, "--max-examples", "7", "--batch-size", "6"],
        classifier: ["--store", str(languages), "--max-examples", "2", "--batch-size", "3"],
    }
    found = []
    for name in ("one", "three"):
        files = {run: tmp_path / f"{name}.{run.name}.jsonl" for run in options}
        first, second = (
            ["evaluate", "--run", str(run), *words, "--predictions", str(files[run])]
            for run, words in options.items()
        )
        if name == "one":
            assert main(first) == main(second) == 0
        else:
            ended = run_together(3, first, "tests.e2e.commands_in_turn", json.dumps([second]))
            assert ended.exit_codes == (0, 0, 0), ended.said
            for announced in ("7 examples in batches of 6", "2 examples in batches of 3"):
                assert [said.count(announced) for said in ended.said] == [1, 0, 0]
        records = [json.loads((run / "evaluation.json").read_text()) for run in options]
        lines = [[json.loads(line) for line in file.read_text().splitlines()] for file in files.values()]
        found.append(zip(records, lines, strict=True))
    for run, (one, alone), (three, together) in zip(options, *found, strict=True):
        assert len({line["example"] for line in together}) == three["num_examples"]
        for mine, other in zip(together, alone, strict=True):
            assert mine.pop("probabilities", {}) == pytest.approx(other.pop("probabilities", {}), rel=1e-5)
            assert mine == other
        # encoder_use is a small difference of two losses
        assert three["metrics"] == pytest.approx(one["metrics"], rel=1e-6, abs=1e-6)
        assert three["intervals"]["loss"] == pytest.approx(one["intervals"]["loss"])
        assert three["notes"] == one["notes"]
        assert len(list((run / "evaluations").glob("*.json"))) == 1
