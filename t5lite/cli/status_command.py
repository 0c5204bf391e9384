"""``t5lite status``: how runs stand and what they cost, from their files alone."""

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from t5lite.core import command_line
from t5lite.core.errors import ConfigError, ReportedError, TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.home import expand_fields
from t5lite.core.machine_errors import description, exit_code
from t5lite.runner.status import RunStatus, run_status
from t5lite.training.attempts import Attempt
from t5lite.training.goodput import Goodput, lost_steps, reached_steps
from t5lite.training.incidents import described

_SHOWN_METRICS = (
    "loss",
    "text_loss",
    "accuracy",
    "token_accuracy",
    "tokens_per_second",
    "mfu",
    "input_stall",
)
_LEAST_SHARE = 0.005
"""Of the time; causes of badput below it are not listed."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Say how runs stand, from their files: works from anywhere, while they run.

    Goodput is the part of the time since the first start that went into steps that count; the rest is
    listed by cause (docs/reliability.md).
    """

    runs: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN …")]] = ()
    """Run directories, local, gs:// or s3://."""
    json: bool = False
    """Print a JSON array, an object a run."""

    def __post_init__(self):
        expand_fields(self, "runs")
        if not self.runs:
            raise ConfigError("give a run directory, or several; see t5lite status --help")


def run(arguments: Sequence[str]) -> int:
    """Print how each run stands, and return 0."""
    known = command_line.parse(Arguments, arguments, prog="t5lite status")
    statuses: list[RunStatus] = []
    problems: list[Exception] = []
    for name in known.runs:
        try:
            statuses.append(run_status(name))
        except (ReportedError, OSError) as error:  # the other runs are shown
            problems.append(error)
    if known.json:
        print(json.dumps([_json(status) for status in statuses], indent=2))
    elif len(known.runs) > 1 and statuses:
        print(_rows(statuses))
    elif statuses:
        print(_page(statuses[0]))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        passing = any(exit_code(each) == ExitCode.TRANSIENT for each in problems)
        raise (TransientError if passing else ConfigError)("; ".join(map(description, problems)))
    return 0


def _json(status: RunStatus) -> dict[str, Any]:
    cost = status.cost
    known = {**dataclasses.asdict(status), "cost": dataclasses.asdict(cost) | {"goodput": cost.share}}
    return known | {"cost": known["cost"] | {"total_seconds": cost.total_seconds}}


def _rows(statuses: Sequence[RunStatus]) -> str:
    header = ("run", "state", "step", "loss", "eval loss", "time left", "goodput", "starts", "sign of life")
    rows: list[tuple[str, ...]] = [header]
    for status in statuses:
        rows.append(
            (
                status.run,
                status.state,
                _of(status.step, status.total_steps),
                _figure(status.train.get("loss")),
                _figure(next(iter(status.evaluations.values()), {}).get("loss")),
                _duration(status.seconds_left),
                f"{status.cost.share:.0%}" if status.attempts else "",
                str(len(status.attempts)),
                "" if status.silent_seconds is None else f"{_duration(status.silent_seconds)} ago",
            )
        )
    notes = [f"{status.run}: {note}" for status in statuses for note in status.notes]
    return "\n".join([*_aligned(rows), *notes])


def _page(status: RunStatus) -> str:
    lines = [f"{status.run}: {_headline(status)}"]
    facts = {
        "held by": status.holder,
        "checkpoints": ", ".join(map(str, status.checkpoints)) or "none",
        "train": _metrics(status.train),
        **{
            f"eval {name}" if len(status.evaluations) > 1 else "eval": _metrics(entry)
            for name, entry in status.evaluations.items()
        },
        "time left": _duration(status.seconds_left),
        "incidents": described(status.incidents, status.left_out_examples),
        "goodput": _goodput(status.cost) if status.attempts else "",
        "tried again": _retried(status.attempts),
        "down": _down(status),
    }
    width = max(12, *map(len, facts))
    lines += [f"  {name:<{width}} {fact}" for name, fact in facts.items() if fact]
    if status.attempts:
        header = ("start", "at", "took", "steps", "processes", "devices", "end")
        rows = [header, *(_attempt(status, place) for place in range(len(status.attempts)))]
        lines += ["", *(f"  {row}" for row in _aligned(rows))]
    return "\n".join([*lines, *status.notes])


def _headline(status: RunStatus) -> str:
    done = f" ({status.step / status.total_steps:.0%})" if status.total_steps else ""
    silent = status.silent_seconds
    sign = "" if silent is None else f", last sign of life {_duration(silent)} ago by file time"
    return f"{status.state} at step {_of(status.step, status.total_steps)}{done}{sign}"


def _metrics(entry: Mapping[str, Any]) -> str:
    shown = [f"{name} {_figure(entry[name])}" for name in _SHOWN_METRICS if name in entry]
    return f"step {entry['step']:,}: {', '.join(shown)}" if entry else ""


def _goodput(cost: Goodput) -> str:
    total = cost.total_seconds or 1.0
    causes = sorted(cost.lost_seconds.items(), key=lambda item: -item[1])
    listed = [f"{cause} {lost / total:.0%}" for cause, lost in causes if lost >= _LEAST_SHARE * total]
    repeated = f"; {cost.repeated_steps:,} steps came to nothing" if cost.repeated_steps else ""
    rest = f"; {', '.join(listed)}" if listed else ""
    return f"{cost.share:.0%} of {_duration(cost.total_seconds)} in steps that count{rest}{repeated}"


def _retried(attempts: Sequence[Attempt]) -> str:
    total = sum(attempt.retried_requests for attempt in attempts)
    return f"{total:,} requests to object storage" if total else ""


def _down(status: RunStatus) -> str:
    if status.down_seconds is None:
        return ""
    last = status.attempts[-1]
    how = _end(last, "killed").partition(":")[0]
    ended = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.seen))
    return f"no heartbeat for {_duration(status.down_seconds)}; last attempt ended {ended} ({how})"


def _attempt(status: RunStatus, place: int) -> tuple[str, ...]:
    attempt = status.attempts[place]
    lost = lost_steps(status.attempts[place - 1], attempt) if place else 0
    repeated = f" ({lost:,} again)" if lost else ""
    is_newest = place == len(status.attempts) - 1
    # The metrics file is ahead of what the ledger knows of an attempt that lasts, or was killed.
    last_step = max(attempt.last_step, status.step) if is_newest else reached_steps(status.attempts)[place]
    return (
        str(attempt.number),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started)),
        _duration(attempt.lasted_seconds),
        f"{attempt.first_step:,} → {last_step:,}{repeated}",
        str(attempt.num_processes),
        str(attempt.num_devices),
        _end(attempt, status.state if is_newest else "killed"),
    )


def _end(attempt: Attempt, state: str) -> str:
    end = attempt.end
    if end is None:
        return "killed: no end was written" if state in ("killed", "starting") else state
    words = f"{end.reason}, exit code {end.exit_code}"
    if end.exit_code == ExitCode.HANG:
        words = f"stuck, exit code {end.exit_code}"
    return f"{words}: {end.message}" if end.message else words


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _of(step: int, total: int | None) -> str:
    return f"{step:,} of {total:,}" if total else f"{step:,}"


def _figure(value: Any) -> str:
    if not isinstance(value, int | float):
        return "not finite" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _duration(seconds: float | None) -> str:
    """Return the two largest units: ``3 d 4 h``, ``12 min 5 s``."""
    if seconds is None:
        return ""
    left = math.ceil(seconds)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or unit == "s":
            parts.append(f"{count} {unit}")
    shown = parts[:2]
    return " ".join(part for part in shown if not (part == "0 s" and len(shown) > 1))
