"""The processes of a run as threads of one: what they agree on, without devices to agree by."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import pytest

from t5lite.core.errors import ReportedError
from t5lite.partitioning import multihost


def in_processes(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Return what ``act`` returns in each process, by its number, or the ``ReportedError`` it raises there.

    Raises:
      BrokenBarrierError: where some wait for others that never come.
    """
    told: list[Any] = [None] * count
    met, here = threading.Barrier(count, timeout=20), threading.local()

    def every_process(value: Any) -> list[Any]:
        told[here.process] = value
        met.wait()
        values = json.loads(json.dumps(told))  # as it travels between processes
        met.wait()
        return values

    def run(process: int) -> Any:
        here.process = process
        try:
            return act(process)
        except ReportedError as error:
            return error

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(count) as pool:
        patch.setattr(multihost, "every_process", every_process)
        patch.setattr(multihost, "leaders_value", lambda value: every_process(value)[0])
        patch.setattr(multihost, "any_process", lambda answer: any(every_process(answer)))
        patch.setattr(multihost, "as_the_leader_says", lambda answer: every_process(answer)[0])
        patch.setattr(jax, "process_index", lambda: getattr(here, "process", 0))
        return list(pool.map(run, range(count)))
