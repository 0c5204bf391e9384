"""Stages that run once: each leaves a JSON record, so that a quickstart goes on where it stopped."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t5lite.core.files import write_json
from t5lite.quickstart.results import Stage


class StageLog:
    """The finished stages of the quickstart in ``directory``, and the header line of the next one."""

    def __init__(self, directory: Path, *, total: int):
        self._directory = directory / "stages"
        self._total = total
        self._count = 0
        self.stages: list[Stage] = []

    def run(self, name: str, title: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what ``work`` returns, or what it returned when the stage was run before.

        Args:
          name: file name of the record.
          title: for the header line and the report.
          work: returns a JSON-able dict; its ``note`` (if any) is shown beside the stage.
        """
        self._count += 1
        record_file = self._directory / f"{name}.json"
        done = record_file.is_file()
        print(f"[{self._count}/{self._total}] {title}{' (done before)' if done else ''}", file=sys.stderr)
        if not done:
            start = time.perf_counter()
            result = work()
            write_json(record_file, {"seconds": time.perf_counter() - start, "result": result})
        record = json.loads(record_file.read_text(encoding="utf-8"))
        note = record["result"].get("note", "")
        self.stages.append(Stage(name=title, seconds=record["seconds"], note=note))
        if not done and note:
            print(f"      {note}, {record['seconds']:.1f} s", file=sys.stderr)
        return record["result"]
