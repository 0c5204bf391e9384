"""Where metrics go to stay: one JSON object a line, and TensorBoard events.

In a bucket, where nothing is appended to, the lines are in parts, ``metrics/ATTEMPT-NUMBER.jsonl``. A line of
the kind "restart" stands for what is done to the file of a disk then: those of later steps do not count.
"""

import itertools
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from t5lite.core.bounded_reads import open_regular
from t5lite.core.errors import DataError
from t5lite.core.files import make_directory, write_text
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.storage.growing_files import GrowingFile
from t5lite.core.storage.growing_objects import GrowingObjects, parts
from t5lite.core.storage.remote_path import RemotePath
from t5lite.training.tensorboard import ScalarWriter

_LOG = logging.getLogger(__name__)
_REMEDY = "move the file away, a new one will be started"

METRICS_FILE = "metrics.jsonl"
"""Name in the run directory; ``metrics`` is that of the folder of parts."""
UNNAMED_EVALUATION = "heldout"
"""The evaluation that runs had before evaluations had names."""
_PARTS, _PART = "metrics", ".jsonl"
_RESTART = "restart"
_MAX_LINE_BYTES = 1 << 20


class MetricsLog:
    """``metrics.jsonl`` and ``tensorboard/`` of one run, appended to.

    A line is ``{"kind": "train", "step": n, ...}``, or of the kind "eval" and names its ``evaluation``, too.
    When a run starts again from step ``n``, what an earlier attempt wrote for later steps is dropped first,
    so that every step is there once. In a bucket, what was written is there after ``flush``, and within a
    minute.

    Args:
      directory: the run directory.
      start_step: steps done when this attempt starts; 0 drops everything.
      earlier: entries that stand in place of all that is there, of a run that another one goes on from; None
        leaves what is there.
      keeps: whether what a disk does not take is kept and written later; else that is an error.
    """

    def __init__(
        self,
        directory: StoragePath,
        *,
        start_step: int,
        earlier: Sequence[Mapping[str, Any]] | None = None,
        keeps: bool = True,
    ) -> None:
        self.path = directory / METRICS_FILE
        make_directory(directory)
        self._lines: _Lines = _File(self.path, keeps) if isinstance(self.path, Path) else _Parts(self.path)
        kept: Sequence[Mapping[str, Any]] = self._lines.drop_after(start_step if earlier is None else 0)
        if earlier:
            self._lines.extend(earlier)
        kept = kept if earlier is None else earlier
        self._evaluated = {(e["step"], e["evaluation"]) for e in kept if e["kind"] == "eval"}
        # purge_step makes TensorBoard hide events of the earlier attempt from that step on.
        purge_step = start_step + bool(start_step)
        self._events = ScalarWriter(directory / "tensorboard", purge_step=purge_step, keeps=keeps)

    def write(self, kind: str, step: int, values: Mapping[str, Any], *, shown_as: str | None = None) -> None:
        """Append one line; on a disk that takes it, ``kill -9`` does not lose it.

        Args:
          kind: of the line.
          step: steps done.
          values: by name; of the kind "eval" also the name of the evaluation.
          shown_as: what the names begin with in TensorBoard; by default the kind.
        """
        line = {"kind": kind, "step": step, **{name: _jsonable(value) for name, value in values.items()}}
        self._lines.append(line)
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        self._events.write(step, {f"{shown_as or kind}/{name}": value for name, value in numbers.items()})
        if kind == "eval":
            self._evaluated.add((step, values["evaluation"]))

    def has_evaluation(self, step: int, name: str) -> bool:
        """Whether an evaluation after ``step`` steps is in the file."""
        return (step, name) in self._evaluated

    def flush(self) -> None:
        """Put what was written where a kill does not lose it."""
        self._lines.flush()
        self._events.flush()

    def close(self) -> None:
        """Write what was not written yet, and close both.

        Raises:
          TransientError: if something cannot be written.
        """
        with closing(self._events):
            self._lines.close()

    def abandon(self) -> None:
        """Close both as they stand: another run may be writing."""
        self._lines.forget()
        self._events.forget()
        self.close()


class _Lines(Protocol):
    """Lines that are appended to those of earlier attempts."""

    def drop_after(self, step: int) -> list[dict[str, Any]]:
        """Drop the lines of later steps (0: all), before the first is appended; return what is kept."""
        ...

    def append(self, line: Mapping[str, Any]) -> None: ...

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append many, and put them where a kill does not lose them."""
        ...

    def flush(self) -> None: ...

    def forget(self) -> None:
        """Do not write what was appended and is not written yet."""
        ...

    def close(self) -> None: ...


class _File:
    """The lines of a file."""

    def __init__(self, path: Path, keeps: bool) -> None:
        self._path, self._keeps = path, keeps

    def drop_after(self, step: int) -> list[dict[str, Any]]:
        kept = drop_after(self._path, step)
        self._file = GrowingFile(self._path, keeps=self._keeps)
        return kept

    def append(self, line: Mapping[str, Any]) -> None:
        self._file.append(_encoded(line))

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._file.append(b"".join(map(_encoded, lines)))

    def flush(self) -> None:
        self._file.flush()

    def forget(self) -> None:
        self._file.forget()

    def close(self) -> None:
        self._file.close()


class _Parts:
    """The lines of parts in a bucket."""

    def __init__(self, path: RemotePath) -> None:
        self._path = path
        attempts = [int(part.name[:6]) for part in parts(path.parent / _PARTS, _PART)]
        self._objects = GrowingObjects(path.parent / _PARTS, f"{max(attempts, default=-1) + 1:06d}", _PART)

    def drop_after(self, step: int) -> list[dict[str, Any]]:
        kept = [entry for entry in read_metrics(self._path) if entry["step"] <= step] if step else []
        self.append({"kind": _RESTART, "step": step})
        return kept

    def append(self, line: Mapping[str, Any]) -> None:
        self._objects.append(_encoded(line))
        if line["kind"] == "eval":
            self._objects.flush()

    def extend(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._objects.append(b"".join(map(_encoded, lines)))
        self._objects.flush()

    def flush(self) -> None:
        self._objects.flush()

    def forget(self) -> None:
        self._objects.forget()

    def close(self) -> None:
        self._objects.close()


def read_metrics(path: StoragePath) -> list[dict[str, Any]]:
    """Return the lines of a metrics file, or of its parts; none where there is none.

    A last line that a killed run left half-written is left out.

    Raises:
      DataError: if the file cannot be read, or for a line elsewhere that is no entry of such a file.
    """
    if isinstance(path, Path):
        return _entries_and_rest(path)[0] if path.exists() else []
    entries: list[dict[str, Any]] = []
    for part in parts(path.parent / _PARTS, _PART):
        for entry in _entries_and_rest(part)[0]:
            if entry["kind"] == _RESTART:
                entries = [each for each in entries if each["step"] <= entry["step"]] if entry["step"] else []
            else:
                entries.append(entry)
    return entries


def _entries_and_rest(path: StoragePath) -> tuple[list[dict[str, Any]], bytes]:
    """Return the entries of a metrics file, and its last line where that is none."""
    entries: list[dict[str, Any]] = []
    try:
        with open_regular(path) if isinstance(path, Path) else BytesIO(path.read_bytes()) as stream:
            for number in itertools.count(1):
                line = stream.readline(_MAX_LINE_BYTES)
                if not line:
                    break
                try:
                    if line.strip():
                        entries.append(_entry(line))
                except ValueError as error:
                    if not stream.read(_MAX_LINE_BYTES).strip():
                        return entries, line.rstrip()
                    raise DataError(f"{path}, line {number} is not an entry ({error}); {_REMEDY}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); {_REMEDY}") from error
    return entries, b""


def _entry(line: bytes) -> dict[str, Any]:
    """Return what a line says; raises ValueError if it is not what ``MetricsLog`` writes."""
    entry = parse_json(line)
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise ValueError("not an object with a kind")
    if type(entry.get("step")) is not int:
        raise ValueError("not an object with a step")
    if entry["kind"] == "eval" and not isinstance(entry.setdefault("evaluation", UNNAMED_EVALUATION), str):
        raise ValueError("its evaluation is no name")
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


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, allow_nan=False).encode() + b"\n"


def _jsonable(value: Any) -> Any:
    """JSON has no NaN or infinity; they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
