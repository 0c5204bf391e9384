"""Hands the metrics of a run to its trackers, on a thread: none of them can stop a training, or slow it down.

By what each tracker finds the run again is kept in the run directory, so that a run that is resumed goes on
in the same place.
"""

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t5lite.core.errors import ConfigError, ReportedError
from t5lite.core.files import write_json
from t5lite.core.json_text import load_json
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath
from t5lite.training.trackers import TrackerConfig
from t5lite.training.trackers.base import Reason, TrackedRun, Tracker

TRACKERS_FILE = "trackers.json"
"""Name in the run directory."""
VERSIONS = Versions({0: unchanged})
"""Of that file."""
_MAX_WAITING = 10_000
"""Entries that wait for a service that is slow; more are left out, counted."""
_FINISH_SECONDS = 60.0


class Trackers:
    """The trackers of one run; a context manager. Only the leader has one.

    Args:
      configs: which.
      directory: the run directory.
      name: what the run is called.
      config: JSON-able, of the run.
      say: shows a line; called on other threads.
    """

    def __init__(
        self,
        configs: Sequence[TrackerConfig],
        directory: StoragePath,
        *,
        name: str,
        config: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self._name, self._config, self._say = name, config, say
        self._file = directory / TRACKERS_FILE
        self._tracked_as = _read(self._file, say)
        self._all = [_Guarded(each.key, each.open(), say) for each in configs]
        self._entries: queue.Queue[tuple[int, Mapping[str, float]] | Reason] = queue.Queue(_MAX_WAITING)
        self._num_left_out = 0
        self._reason: Reason = "failed"
        self._thread = threading.Thread(target=self._work, name="trackers", daemon=True)

    def __enter__(self) -> "Trackers":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        deadline = time.monotonic() + _FINISH_SECONDS
        with contextlib.suppress(queue.Full):
            self._entries.put("failed" if error is not None else self._reason, timeout=_FINISH_SECONDS)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._say(f"trackers: not all was sent within {_FINISH_SECONDS:g} s; metrics.jsonl has it")
        if self._num_left_out:
            self._say(f"trackers: {self._num_left_out} entries were left out, for a service did not keep up")
        for tracker in self._all:
            tracker.say_end()

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Show an entry of the metrics file; returns at once."""
        numbers = {
            f"{kind}/{name}": float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        if numbers:
            try:
                self._entries.put_nowait((step, numbers))
            except queue.Full:
                self._num_left_out += 1

    def finish(self, reason: Reason) -> None:
        """Say how the attempt is about to end."""
        self._reason = reason

    def _work(self) -> None:
        for tracker in self._all:
            run = TrackedRun(
                name=self._name, config=self._config, tracked_as=self._tracked_as.get(tracker.key)
            )
            tracked_as = tracker.start(run)
            if tracked_as is not None and tracked_as != run.tracked_as:
                self._tracked_as[tracker.key] = tracked_as
                try:
                    write_json(self._file, VERSIONS.stamped({"tracked_as": self._tracked_as}))
                except (ReportedError, OSError) as error:
                    self._say(f"trackers: a run that is resumed will be tracked as a new one ({error})")
        while True:
            entry = self._entries.get()
            for tracker in self._all:
                if isinstance(entry, str):
                    tracker.finish(entry)
                else:
                    tracker.log(*entry)
            if isinstance(entry, str):
                return


class _Guarded:
    """A tracker whose failures are said once and counted; one that could not start is left alone."""

    def __init__(self, key: str, tracker: Tracker, say: Callable[[str], None]) -> None:
        self.key = key
        self._tracker, self._say = tracker, say
        self._started = False
        self._num_failed = 0

    def start(self, run: TrackedRun) -> str | None:
        """Start it, and return by what it finds the run again; None if it could not."""
        tracked_as = self._try(lambda: self._tracker.start(run), "it shows nothing of this attempt")
        self._started = tracked_as is not None
        return tracked_as

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log, if it was started."""
        if self._started:
            self._try(lambda: self._tracker.log(step, values), "training goes on without")

    def finish(self, reason: Reason) -> None:
        """Finish, if it was started."""
        if self._started:
            self._try(lambda: self._tracker.finish(reason), "training goes on without")

    def say_end(self) -> None:
        """Say how often it failed, if more than once: the first was said."""
        if self._num_failed > 1:
            self._say(f"tracker {self.key}: failed {self._num_failed} times; metrics.jsonl has everything")

    def _try(self, call: Callable[[], Any], result: str) -> Any:
        try:
            return call()
        except BaseException as error:  # of a package that is not ours; SystemExit would end the thread
            self._num_failed += 1
            if self._num_failed == 1:
                what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                self._say(f"tracker {self.key}: {what}; {result}")
            return None


def _read(file: StoragePath, say: Callable[[str], None]) -> dict[str, str]:
    """Return by what the trackers find the run again; of a damaged file nothing, which is said."""
    try:
        found = VERSIONS.migrated(load_json(file), name="it")["tracked_as"]
        return {str(key): str(value) for key, value in found.items()}
    except FileNotFoundError:
        pass
    except (ConfigError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        say(f"{file} cannot be used ({error}): trackers show what follows as a new run")
    return {}
