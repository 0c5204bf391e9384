"""Each task from a pretrained run and from scratch, everything else equal; a table of what they reach.

    python benchmarks/task_rows.py packages apt rows
    t5lite prepare text --inputs rows/pretraining.jsonl --output data/text --vocabulary-size 2048
    t5lite train --config configs/pretrain_laptop.py --data.store data/text/train \
        --evaluations.heldout.store data/text/heldout --run-dir runs/pretrained \
        --training.total-steps 9000 --schedule.decay-steps 3000
    python benchmarks/task_runs.py rows runs/pretrained tasks [NAME ...]

For each task it runs `t5lite prepare task`, `t5lite train --config configs/finetune_task.py` and `t5lite
evaluate` from both starts, and `t5lite compare`, prints these commands, and writes what compare says to
tasks/NAME.json. NAME-500 is the task on 500 of its training rows, NAME*4 of four times the steps. What
has been measured is not made again.
"""

import json
import random
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t5lite.runner.choosing import criterion
from t5lite.runner.comparison import paired_difference, read_run

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
    num_rows: int | None = None
    """Training rows to take, by a fixed draw; all by default."""
    steps: int = 400
    max_examples: int = 512
    """Of the held-out side, of which the order is mixed."""


TASKS = {
    "extractive-qa": TaskRun(metric="token_f1", lengths=(64, 16)),
    "ner": TaskRun(metric="span_f1", lengths=(128, 64)),
    "summarization": TaskRun(metric="rouge_lsum", lengths=(128, 32)),
    "dialogue": TaskRun(metric="chrf", lengths=(64, 64)),
    "topic": TaskRun(metric="accuracy", lengths=(128, 16)),
    "semantic-roles": TaskRun(metric="argument_f1", lengths=(64, 64)),
    "span-extraction": TaskRun(metric="accuracy", rows="extractive-qa", lengths=(64, 16)),
    "translation": TaskRun(metric="chrf", lengths=(64, 64)),
    "sentiment": TaskRun(metric="accuracy", lengths=(64, 16)),
    "closed-book-qa": TaskRun(metric="token_f1", constants=("dataset", "wordnet"), lengths=(64, 16)),
    "mnli": TaskRun(metric="accuracy", lengths=(64, 16)),
}


def task_run(name: str) -> tuple[str, TaskRun]:
    """Return the task and how it is trained, of NAME, NAME-500 or NAME*4."""
    task, _, longer = name.partition("*")
    known = TASKS.get(task)
    if known is None:
        task, _, num_rows = task.rpartition("-")
        known = replace(TASKS[task], num_rows=int(num_rows))
    return task, replace(known, rows=known.rows or task, steps=known.steps * int(longer or 1))


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


def fewer_rows(rows: Path, output: Path, *, count: int) -> Path:
    """Write a folder of so many of the training rows, and of all that are held out; return it."""
    output.mkdir(parents=True, exist_ok=True)
    lines = (rows / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    (output / "train.jsonl").write_text("".join(random.Random(0).sample(lines, count)), "utf-8")
    (output / "validation.jsonl").write_text((rows / "validation.jsonl").read_text("utf-8"), "utf-8")
    return output


def prepare(name: str, *, rows: Path, pretrained: str, output: Path) -> Path:
    """Return the folder of a task's stores, made if it is not there."""
    task, how = task_run(name)
    named = name.partition("*")[0]
    data = output / "data" / named
    if not (data / "task.json").exists():
        folder, own = rows / how.rows, rows / f"{task}.json"
        if how.num_rows is not None:
            folder = fewer_rows(folder, output / "rows" / named, count=how.num_rows)
        constants = ["--constants", *how.constants] if how.constants else []
        words = ("--task", own if own.exists() else task, "--inputs", folder, "--output", data, *constants)
        print(call("prepare", "task", *words, "--vocabulary", f"{pretrained}/spiece.model"))
    return data


def train(name: str, run: Path, *, start: tuple[str, ...], data: Path) -> None:
    """Train a task from a start, and measure what it writes."""
    how = task_run(name)[1]
    run.parent.mkdir(parents=True, exist_ok=True)
    if not list(run.glob("evaluations/*.json")):
        call(
            *("train", "--config", RECIPE, "--task", data / "task.json", *start, "--run-dir", run),
            *("--data.store", data / "train", "--evaluations.heldout.store", data / "heldout"),
            *("--data.inputs-length", how.lengths[0], "--data.targets-length", how.lengths[1]),
            *("--evaluations.heldout.max-examples", how.max_examples, "--training.total-steps", how.steps),
            *("--schedule.decay-steps", how.steps // 2, "--training.eval-every-steps", how.steps),
            log=run.with_suffix(".log"),
        )
        print(call("evaluate", "--run", run))


def run_task(name: str, *, rows: Path, pretrained: str, output: Path) -> dict[str, Any]:
    """Prepare a task, train and measure it from both starts, and return what `t5lite compare` says."""
    how, data = task_run(name)[1], prepare(name, rows=rows, pretrained=pretrained, output=output)
    starts = {
        "pretrained": ("--initialize-from.run", pretrained),
        "scratch": ("--initialize-from", "None", "--model", pretrained),
    }
    runs = [output / start / name.replace("*", "-times-") for start in starts]
    for run, start in zip(runs, starts.values(), strict=True):
        train(name, run, start=start, data=data)
    compared = json.loads(call("compare", *runs, "--metric", how.metric, "--json"))
    return {**compared, "row": table_row(name, runs)}


def table_row(name: str, folders: Sequence[Path]) -> str:
    """Return a line of the table: both scores and their paired difference with intervals, and encoder use."""
    metric = task_run(name)[1].metric
    runs = [read_run(str(each)) for each in folders]
    by = criterion(runs, evaluation=None, metric=metric)
    first, second = (by.measured(run) for run in runs)
    cells, ends = [], [each.intervals[metric] for each in (first, second)]
    for measured, interval in zip((first, second), ends, strict=True):
        cells.append(f"{measured.metrics[metric]:.4g} [{interval.low:.4g}, {interval.high:.4g}]")
    difference = paired_difference(first, second, metric)
    if difference is not None:
        interval = difference.interval
        cells.append(f"{difference.value:+.4g} [{interval.low:+.4g}, {interval.high:+.4g}]")
    overlap = "no" if ends[0].low > ends[1].high or ends[0].high < ends[1].low else "yes"
    uses = " / ".join(f"{each.metrics['encoder_use']:.2f}" for each in (first, second))
    return f"| {name} | {metric} | {' | '.join(cells)} | {overlap} | {uses} |"


def main(rows: Path, pretrained: str, output: Path, names: list[str]) -> None:
    """Run the tasks of these names, all by default, and print the table of those that are done."""
    output.mkdir(parents=True, exist_ok=True)
    for name in names or TASKS:
        compared = run_task(name, rows=rows, pretrained=pretrained, output=output)
        (output / f"{name}.json").write_text(json.dumps(compared, indent=2), "utf-8")
        print(compared["advice"], flush=True)
    print("| task | metric | pretrained | scratch | difference | intervals overlap | encoder use |")
    print("|---|---|---|---|---|---|---|")
    for done in sorted(output.glob("*.json")):
        print(json.loads(done.read_text("utf-8"))["row"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
