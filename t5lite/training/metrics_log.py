"""Where metrics go to stay: one JSON object a line, and TensorBoard events."""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t5lite.core.errors import DataError
from t5lite.core.files import write_text
from t5lite.core.json_text import parse_json
from t5lite.training.tensorboard import ScalarWriter

_LOG = logging.getLogger(__name__)
_REMEDY = "move the file away, a new one will be started"

METRICS_FILE = "metrics.jsonl"
"""Name in the run directory."""


class MetricsLog:
    """``metrics.jsonl`` and ``tensorboard/`` of one run, appended to.

    A line is ``{"kind": "train" | "eval", "step": n, ...}``. When a run starts again from step ``n``, what an
    earlier attempt wrote for later steps is dropped first, so that every step is there once.

    Args:
      directory: the run directory.
      start_step: steps done when this attempt starts; 0 drops everything.
    """

    def __init__(self, directory: Path, *, start_step: int) -> None:
        self.path = directory / METRICS_FILE
        directory.mkdir(parents=True, exist_ok=True)
        kept = drop_after(self.path, start_step)
        self._evaluated_steps = {entry["step"] for entry in kept if entry["kind"] == "eval"}
        self._stream = self.path.open("a", encoding="utf-8")
        # purge_step makes TensorBoard hide events of the earlier attempt from that step on.
        self._events = ScalarWriter(directory / "tensorboard", purge_step=start_step + bool(start_step))

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line and hand it to the operating system, so that ``kill -9`` does not lose it."""
        line = {"kind": kind, "step": step, **{name: _jsonable(value) for name, value in values.items()}}
        self._stream.write(json.dumps(line, allow_nan=False) + "\n")
        self._stream.flush()
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self._events.write(step, {f"{kind}/{name}": value for name, value in numbers.items()})
        if kind == "eval":
            self._evaluated_steps.add(step)

    def has_evaluation(self, step: int) -> bool:
        """Whether an evaluation after ``step`` steps is in the file."""
        return step in self._evaluated_steps

    def close(self) -> None:
        """Close both."""
        self._stream.close()
        self._events.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file; a last line that a killed run left half-written is left out.

    Raises:
      DataError: if the file cannot be read, or for a line elsewhere that is no entry of such a file.
    """
    return _entries_and_rest(path)[0]


def _entries_and_rest(path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Return the entries of a metrics file, and its last line where that is none."""
    try:
        lines = path.read_bytes().rstrip().split(b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            entries.append(_entry(line))
        except ValueError as error:
            if number == len(lines):
                return entries, line
            raise DataError(f"{path}, line {number} is not an entry ({error}); {_REMEDY}") from error
    return entries, b""


def _entry(line: bytes) -> dict[str, Any]:
    """Return what a line says; raises ValueError if it is not what ``MetricsLog`` writes."""
    entry = parse_json(line)
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise ValueError("not an object with a kind")
    if type(entry.get("step")) is not int:
        raise ValueError("not an object with a step")
    return entry


def drop_after(path: Path, step: int) -> list[dict[str, Any]]:
    """Rewrite a metrics file, if there is one, without the lines of steps after ``step`` (0: without any).

    Return the lines that were kept.
    """
    if not path.exists():
        return []
    entries, rest = _entries_and_rest(path) if step else ([], b"")
    if rest:
        _LOG.warning("%s: its last line was half written (%d bytes): dropped", path, len(rest))
    kept = [entry for entry in entries if entry["step"] <= step]
    write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
    return kept


def _jsonable(value: Any) -> Any:
    """JSON has no NaN or infinity; they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
