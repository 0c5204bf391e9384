"""Stages that run once: each leaves a JSON record, so that a quickstart goes on where it stopped."""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from t5lite.core.errors import DataError
from t5lite.core.files import write_json
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.quickstart.results import Stage


class StageLog:
    """The finished stages of the quickstart in ``directory``, and the header line of the next one.

    Times include attempts that were stopped (not those that were killed), and memory is the highest of all
    attempts' processes.
    """

    def __init__(self, directory: StoragePath, *, total: int):
        self._directory = directory / "stages"
        self._total = total
        self._count = 0
        self.stages: list[Stage] = []
        self.peak_bytes = 0

    def run(self, name: str, title: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what ``work`` returns, or what it returned when the stage was run before.

        Args:
          name: file name of the record.
          title: for the header line and the report.
          work: returns a JSON-able dict; its ``note`` (if any) is shown beside the stage.

        Raises:
          DataError: if the record of an earlier run is damaged.
        """
        self._count += 1
        record_file = self._directory / f"{name}.json"
        done = record_file.is_file()
        print(f"[{self._count}/{self._total}] {title}{' (done before)' if done else ''}", file=sys.stderr)
        if not done:
            self._work(name, record_file, work)
        record = _read(record_file)
        self.peak_bytes = max(self.peak_bytes, record["peak_bytes"])
        note = record["result"].get("note", "")
        self.stages.append(Stage(name=title, seconds=record["seconds"], note=note))
        if not done and note:
            print(f"      {note}, {record['seconds']:.1f} s", file=sys.stderr)
        return record["result"]

    def _work(self, name: str, record_file: StoragePath, work: Callable[[], dict[str, Any]]) -> None:
        stopped_file = self._directory / f"{name}.stopped.json"
        before = _read(stopped_file)["seconds"] if stopped_file.is_file() else 0.0
        start = time.perf_counter()
        try:
            result = work()
        except BaseException:
            write_json(stopped_file, {"seconds": before + time.perf_counter() - start})
            raise
        seconds = before + time.perf_counter() - start
        write_json(record_file, {"seconds": seconds, "peak_bytes": _peak_bytes(), "result": result})
        stopped_file.unlink(missing_ok=True)


def _read(file: StoragePath) -> dict[str, Any]:
    try:
        return parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(
            f"{file} is damaged ({error}); delete it and run again: that repeats the stage"
        ) from error


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
