"""Runs a step's tasks on Daft: its native engine on one machine, or a Ray cluster.

A row of the DataFrame is one task; a class UDF executes it in a process of its own and answers with JSON.
What a task writes depends on the task alone, so the result does not depend on how many run at once, or where.
A task that is done has a mark, by which a later run skips it. (One plan over all rows would be shorter, but
Daft's memory then grows with the input: 1.5 GB at 0.6 GB of text, against 0.25 GB a worker this way.)
"""

import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import daft
from daft import DataType, col
from daft.pickle import cloudpickle
from tqdm import tqdm

from t5lite.core import files
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.json_text import parse_json
from t5lite.data.free_space import naming_free_space

_RECIPE_MODULE = "t5lite_recipe"  # as `t5lite prepare --recipe` calls it
_CONNECT_SECONDS = 10
Task = Callable[[str], Mapping[str, Any]]
"""A picklable function of a task's name; its answer is JSON."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where tasks run."""

    count: int | None = None
    """How many at once; None for all cores (of the cluster)."""

    ray_address: str | None = None
    """A Ray cluster, as ``ray://head:10001``, ``head:6379`` or ``auto``; None for this machine."""

    def connect(self) -> int:
        """Choose Daft's runner; return how many tasks run at once.

        Raises:
          ConfigError: if the cluster cannot be reached.
        """
        os.environ["DAFT_PROGRESS_BAR"] = "0"  # ours says more
        if self.ray_address is None:
            return self.count or os.cpu_count() or 1
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--ray needs Ray; pip install 't5lite[ray]'") from error
        _check_reachable(self.ray_address)
        try:
            ray.init(
                self.ray_address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise ConfigError(
                f"no Ray cluster answers at {self.ray_address} ({line}); start one (`ray start --head`)"
            ) from error
        daft.set_runner_ray(self.ray_address, noop_if_initialized=True)
        return self.count or int(ray.cluster_resources().get("CPU", 1))

    def run(
        self, task: Task, names: Sequence[str], *, label: str, marks: Path, needed_bytes: int
    ) -> dict[str, dict[str, Any]]:
        """Run ``task`` on each name that has no mark yet; return the answers of all, in order.

        Args:
          task: what to do.
          names: of the tasks, unique.
          label: for the progress bar.
          marks: folder of the marks, ``NAME.json``, which hold the answers.
          needed_bytes: of disk for the whole job, for the message when it is full.

        Raises:
          UserError: what a task raised; tasks that are done stay done.
        """
        marks.mkdir(parents=True, exist_ok=True)
        waiting = [name for name in names if not (marks / f"{name}.json").exists()]
        if threading.current_thread() is threading.main_thread():
            # Daft takes Ctrl-C over for good, and does not always pass it on.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with tqdm(total=len(names), initial=len(names) - len(waiting), desc=label, unit="shard") as bar:
            if waiting:
                for answer in self._answers(_Execute(task, str(marks), needed_bytes), waiting):
                    if "error" in answer:
                        bar.leave = False
                        raise UserError(answer["error"])
                    bar.update()
                if bar.n < len(names):
                    raise KeyboardInterrupt  # Daft ends its rows at Ctrl-C, without a word
        return {name: parse_json((marks / f"{name}.json").read_text(encoding="utf-8")) for name in names}

    def _answers(self, execute: "_Execute", names: list[str]) -> Any:
        count = min(self.connect(), len(names))
        if recipe := sys.modules.get(_RECIPE_MODULE):
            cloudpickle.register_pickle_by_value(recipe)  # no worker can import it
        daft.set_execution_config(maintain_order=False)  # else a worker waits for another's turn
        execution = daft.cls(_Execution, use_process=True, max_concurrency=count)(execute)
        frame = daft.from_pydict({"name": names})
        if self.ray_address is not None:
            frame = frame.repartition(len(names))
        rows = frame.select(execution.run(col("name")).alias("answer")).iter_rows(results_buffer_size=None)
        return (json.loads(row["answer"]) for row in rows)


def _check_reachable(address: str) -> None:
    """Refuse at once what Ray would try for minutes.

    Raises:
      ConfigError: if nothing listens at ``host:port``.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); start one (`ray start --head`)"
        ) from error


@dataclass(frozen=True)
class _Execute:
    """A task with its mark; a user's mistake or a full disk becomes part of the answer."""

    task: Task
    marks: str
    needed_bytes: int

    def __call__(self, name: str) -> Mapping[str, Any]:
        try:
            with naming_free_space(
                Path(self.marks),
                needed_bytes=self.needed_bytes,
                remedy="finished shards are kept, so the same command goes on",
            ):
                files.write_json(Path(self.marks) / f"{name}.json", self.task(name))
        except UserError as error:
            return {"error": str(error)}
        return {}


class _Execution:
    def __init__(self, execute: _Execute):
        self._execute = execute

    @daft.method.batch(return_dtype=DataType.string(), batch_size=1)
    def run(self, names: Any) -> list[str]:
        return [json.dumps(self._execute(name)) for name in names.to_pylist()]
