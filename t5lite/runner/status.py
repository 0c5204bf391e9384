"""What the files of a run tell of it, from anywhere and while it runs: no device, no JAX, nothing is written.

A single look cannot tell a run that lives from one that is dead by comparing clocks, so the last sign of life
is told as what it is: the time of a file, by whoever keeps the file.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from t5lite.checkpointing.lease import LeaseConfig, Sighting, sighting
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath, no_bucket, place
from t5lite.training.attempts import Attempt, read_attempts
from t5lite.training.goodput import Goodput, goodput
from t5lite.training.incidents import Incidents
from t5lite.training.metrics_log import METRICS_FILE, read_metrics

_CONFIG, _MODEL = "config.json", "model.json"
_CHECKPOINTS, _COMMITTED = "checkpoints", "commit_success.txt"

State: TypeAlias = Literal[
    "starting",
    "running",
    "stopping",
    "silent",
    "killed",
    "finished",
    "preempted",
    "failed",
    "stuck",
    "ended",
    "unknown",
]
"""``silent``: a run holds the directory, and its files stand still for longer than its lease allows;
``killed``: it is gone without a word; ``unknown``: nothing is recorded of how it ended."""
_RUNNING: tuple[State, ...] = ("running", "stopping")


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How a run stands."""

    run: str
    state: State
    step: int
    total_steps: int | None
    silent_seconds: float | None
    """Since the last sign of life, by file time; None if nobody holds the directory."""
    holder: str | None
    """Who holds the directory."""
    checkpoints: tuple[int, ...]
    """Steps, ascending."""
    train: Mapping[str, Any]
    """The newest entry of the metrics file; empty if there is none."""
    evaluations: Mapping[str, Mapping[str, Any]]
    """The newest entry of each evaluation, by its name, in the order in which they began."""
    seconds_left: float | None
    """At the pace of this attempt; None where nothing runs, or no step was done yet."""
    attempts: tuple[Attempt, ...]
    incidents: Incidents
    """Of all attempts."""
    left_out_examples: int
    cost: Goodput
    """Up to now where it does not run and has not come to its end, else to the newest entry of its ledger."""
    down_seconds: float | None
    """Since the last sign of life of a run that is neither there nor at its end; else None."""
    notes: tuple[str, ...]
    """What could not be read."""


def run_status(run: str) -> RunStatus:
    """Return how the run at a path or an address stands.

    Raises:
      ConfigError: if there is no run.
      TransientError: if object storage does not answer.
    """
    directory = place(run)
    lease = sighting(directory)
    attempts, notes = read_attempts(directory)
    config = _config(directory, notes, is_starting=lease is not None)
    entries: list[dict[str, Any]] = []
    try:
        entries = read_metrics(directory / METRICS_FILE)
    except DataError as error:
        notes.append(str(error))
    train = next((entry for entry in reversed(entries) if entry["kind"] == "train"), {})
    last = attempts[-1] if attempts else None
    silent = _silent_seconds(lease.beat) if lease else None
    state = _ended_state(last) if lease is None else _held_state(lease, last, silent)
    now = time.time()
    waits = state not in (*_RUNNING, "finished")
    step = max(train.get("step", 0), last.last_step if last else 0)
    total = _number(config, "training", "total_steps")
    return RunStatus(
        run=str(directory),
        state=state,
        step=step,
        total_steps=None if total is None else int(total),
        silent_seconds=silent,
        holder=None if lease is None else str(lease.holder or "a run that cannot be named"),
        checkpoints=_checkpoints(directory / _CHECKPOINTS),
        train=train,
        evaluations={entry["evaluation"]: entry for entry in entries if entry["kind"] == "eval"},
        seconds_left=_seconds_left(last, step, total) if state == "running" else None,
        attempts=tuple(attempts),
        incidents=Incidents.sum(each.incidents for each in attempts),
        left_out_examples=last.left_out_examples if last else 0,
        cost=goodput(attempts, until=now if waits else None),
        down_seconds=max(0.0, now - last.seen) if waits and last and state != "starting" else None,
        notes=tuple(notes),
    )


def _config(directory: StoragePath, notes: list[str], *, is_starting: bool) -> Mapping[str, Any]:
    """Return what config.json says; nothing of a run that is about to write it, or of what ``notes`` tell.

    Raises:
      ConfigError: if this is no run.
    """
    file = directory / _CONFIG
    if not file.is_file():
        if is_starting:
            return {}
        if (directory / _MODEL).is_file():
            raise ConfigError(f"{directory} is an imported model: it was not trained here, and has no status")
        raise ConfigError(
            f"{directory} is not a run (no {_CONFIG}){no_bucket(directory)}; give a run_dir of `t5lite train`"
        )
    try:
        config = load_json(file)
    except (OSError, ValueError) as error:
        config = error
    if isinstance(config, dict):
        return config
    why = f" ({config})" if isinstance(config, Exception) else ""
    notes.append(f"{file} is damaged{why}; delete it, the run writes it anew when it is started again")
    return {}


def _number(config: Mapping[str, Any], part: str, name: str) -> float | None:
    section = config.get(part)
    value = section.get(name) if isinstance(section, dict) else None
    return value if isinstance(value, int | float) else None


def _ended_state(last: Attempt | None) -> State:
    """Return the state of a run whose directory nobody holds."""
    if last is None:
        return "unknown"
    if last.end is None:
        return "killed"
    return "stuck" if last.end.exit_code == ExitCode.HANG else last.end.reason


def _held_state(lease: Sighting, last: Attempt | None, silent: float | None) -> State:
    holder = lease.holder
    deadline = (holder and holder.deadline_seconds) or LeaseConfig().deadline_seconds
    # An attempt is recorded when it trains; before that, the newest that is recorded is another one.
    if last is None or holder is None or (last.host, last.pid) != (holder.host, holder.pid):
        last = None
    if lease.is_gone:
        return "killed" if last is None else _ended_state(last)
    if silent is not None and silent > deadline:
        return "silent"
    if last is None:
        return "starting"
    return "stopping" if lease.is_stopping or last.end else "running"


def _silent_seconds(beat: StoragePath) -> float | None:
    try:
        written = beat.stat().st_mtime if isinstance(beat, Path) else beat.modified()
    except FileNotFoundError:
        return None
    return max(0.0, time.time() - written)


def _checkpoints(folder: StoragePath) -> tuple[int, ...]:
    """Return the steps of finished checkpoints: on a disk by their names, in a bucket by a mark in them."""
    try:
        found = [path for path in folder.iterdir() if path.name.isdecimal()]
    except FileNotFoundError:
        return ()
    whole = [path for path in found if isinstance(path, Path) or (path / _COMMITTED).is_file()]
    return tuple(sorted(int(path.name) for path in whole))


def _seconds_left(last: Attempt | None, step: int, total: float | None) -> float | None:
    if last is None or total is None or not last.num_steps:
        return None
    seconds = last.seconds
    paced = seconds.input + seconds.step + seconds.save + seconds.evaluation + seconds.other
    return paced / last.num_steps * max(0.0, total - step)
