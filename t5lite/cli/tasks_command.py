"""``t5lite tasks``: the tasks by name, with the columns that they read and an example."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from t5lite.core import command_line
from t5lite.core.home import expand_fields
from t5lite.tasks import TASKS
from t5lite.tasks.opening import open_task, to_json
from t5lite.tasks.rows import example_texts
from t5lite.tasks.task import Task

_WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the tasks, or show all about one; `t5lite prepare task` makes stores of a file for them."""

    name: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="NAME")]] = None
    """Show this one, or the .json file of one."""
    json: bool = False
    """Print JSON: that of a task is a file to change and to give as a task."""

    def __post_init__(self):
        expand_fields(self, "name")


def run(arguments: Sequence[str]) -> int:
    """Print every task, or all about one, and return 0."""
    known = command_line.parse(Arguments, arguments, prog="t5lite tasks")
    if known.name is None:
        print(json.dumps([to_json(task) for task in TASKS.values()], indent=2) if known.json else _table())
        return 0
    task = open_task(known.name)
    print(json.dumps(to_json(task), indent=2, ensure_ascii=False) if known.json else _in_full(task))
    return 0


def _table() -> str:
    cells = [("name", "columns", "metrics", "what is written")]
    cells += [
        (each.name, ", ".join(each.columns()), ", ".join(each.metrics), each.about) for each in TASKS.values()
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in cells
    )


def _in_full(task: Task) -> str:
    lines = [f"{task.name}: {task.about}" if task.about else task.name, ""]
    lines += [f"columns       {', '.join(task.columns())}"]
    if task.constants:
        lines += [f"constants     {', '.join(f'{name}={text}' for name, text in task.constants.items())}"]
    lines += [
        f"metrics       {', '.join(task.metrics)}",
        f"lengths       {task.inputs_length} + {task.targets_length} tokens",
    ]
    if task.decoding:
        lines += [f"decoding      {json.dumps(dict(task.decoding))}"]
    if not task.example:
        return "\n".join(lines)
    lines += [f"a row         {json.dumps(task.example, ensure_ascii=False)}"]
    read, written = example_texts(task)
    lines += ["", *_quoted("is read", read), *_quoted("is written", written)]
    asked, _ = example_texts(task, "instruction")
    if asked != read:
        lines += _quoted("or read", asked)
    lines += [
        "",
        f"t5lite prepare task --task {task.name} --inputs rows.jsonl --vocabulary VOCABULARY --output data",
    ]
    return "\n".join(lines)


def _quoted(label: str, text: str) -> list[str]:
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, _WIDTH) or [""]]
    return [f"{label if not place else '':<12}| {part}" for place, part in enumerate(wrapped)]
