"""Each task from a pretrained run and from scratch, everything else equal; a table of what they reach.

    python benchmarks/task_rows.py packages apt rows
    t5lite prepare text --inputs rows/pretraining.jsonl --output data/text --vocabulary-size 4096
    t5lite train --config configs/pretrain_laptop.py --data.store data/text/train \
        --evaluations.heldout.store data/text/heldout --run-dir runs/pretrained
    python benchmarks/task_runs.py rows runs/pretrained tasks [NAME ...]

For each task it runs `t5lite prepare task`, `t5lite train --config configs/finetune_task.py` twice, `t5lite
evaluate` twice and `t5lite compare`, prints these commands, and writes what compare says to tasks/NAME.json.
What is there already is not made again; a task in several calls goes on where it was.
"""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).parents[1] / "configs" / "finetune_task.py"


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """How a task is trained: what differs from `configs/finetune_task.py`."""

    metric: str
    lengths: tuple[int, int]
    """Tokens of inputs and of targets."""
    rows: str = ""
    """Folder of the rows, if it is not that of the task's name."""
    constants: tuple[str, ...] = ()
    max_examples: int = 512
    """Of the held-out side, of which the order is mixed."""


LENGTH = ("--training.total-steps", 200, "--schedule.decay-steps", 100, "--training.eval-every-steps", 200)
# Two shapes for all, so that little is compiled.
SHORT, LONG = (64, 16), (64, 64)
RUNS = {
    "sentiment": TaskRun(metric="accuracy", lengths=SHORT),
    "mnli": TaskRun(metric="accuracy", lengths=SHORT),
    "translation": TaskRun(metric="chrf", lengths=LONG),
    "summarization": TaskRun(metric="rouge_lsum", lengths=LONG),
    "closed-book-qa": TaskRun(metric="token_f1", constants=("dataset", "wordnet"), lengths=SHORT),
    "extractive-qa": TaskRun(metric="token_f1", lengths=SHORT),
    "ner": TaskRun(metric="token_f1", lengths=LONG),
    "topic": TaskRun(metric="accuracy", lengths=SHORT),
    "dialogue": TaskRun(metric="chrf", lengths=LONG),
    "semantic-roles": TaskRun(metric="token_f1", lengths=LONG),
    "span-extraction": TaskRun(metric="accuracy", rows="extractive-qa", lengths=SHORT),
}


def call(*words: str | int | Path, log: Path | None = None) -> str:
    """Run a command of t5lite, shown first; return what it printed."""
    command = ["t5lite", *map(str, words)]
    print(f"$ {shlex.join(command)}", flush=True)
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if log is not None:
        log.write_text(done.stdout, "utf-8")
    if done.returncode:
        sys.exit(done.stdout)
    return done.stdout


def run_task(name: str, *, rows: Path, pretrained: str, output: Path) -> dict[str, Any]:
    """Prepare a task, train and measure it from both starts, and return what `t5lite compare` says."""
    task, data = RUNS[name], output / "data" / name
    if not (data / "task.json").exists():
        own = rows / f"{name}.json"
        constants = ["--constants", *task.constants] if task.constants else []
        print(
            call(
                *(
                    "prepare",
                    "task",
                    "--task",
                    own if own.exists() else name,
                    "--inputs",
                    rows / (task.rows or name),
                ),
                *("--output", data, "--vocabulary", f"{pretrained}/spiece.model", *constants),
            )
        )
    starts = {
        "pretrained": ("--initialize-from.run", pretrained),
        "scratch": ("--initialize-from", "None", "--model", pretrained),
    }
    for start, options in starts.items():
        run = output / start / name
        call(
            *("train", "--config", RECIPE, "--task", data / "task.json", *options, "--run-dir", run),
            *("--data.store", data / "train", "--evaluations.heldout.store", data / "heldout"),
            *("--data.inputs-length", task.lengths[0], "--data.targets-length", task.lengths[1]),
            *("--evaluations.heldout.max-examples", task.max_examples, *LENGTH),
            log=output / f"{start}-{name}.log",
        )
        if not list(run.glob("evaluations/*.json")):
            print(call("evaluate", "--run", run))
    folders = [output / start / name for start in starts]
    return json.loads(call("compare", *folders, "--metric", task.metric, "--json"))


def table_row(name: str, compared: dict[str, Any]) -> str:
    """Return a line of the table: the metric of both with its interval, and whether these overlap."""
    metric = RUNS[name].metric
    cells, intervals = [], []
    for run in compared["runs"]:
        (found,) = run["evaluations"].values()
        interval = found["intervals"][metric]
        intervals.append((interval["low"], interval["high"]))
        cells.append(f"{found['metrics'][metric]:.4g} [{interval['low']:.4g}, {interval['high']:.4g}]")
    (low, high), (scratch_low, scratch_high) = intervals
    overlap = "no" if low > scratch_high or high < scratch_low else "yes"
    return f"| {name} | {metric} | {' | '.join(cells)} | {overlap} |"


def main(rows: Path, pretrained: str, output: Path, names: list[str]) -> None:
    """Run the tasks of these names, all by default, and print the table of those that are done."""
    output.mkdir(parents=True, exist_ok=True)
    for name in names or RUNS:
        compared = run_task(name, rows=rows, pretrained=pretrained, output=output)
        (output / f"{name}.json").write_text(json.dumps(compared, indent=2), "utf-8")
        print(compared["advice"], flush=True)
    print("| task | metric | pretrained | scratch | intervals overlap |\n|---|---|---|---|---|")
    for name in RUNS:
        if (done := output / f"{name}.json").exists():
            print(table_row(name, json.loads(done.read_text("utf-8"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
