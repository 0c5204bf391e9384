"""Worker processes that prepare batches: they die with their parent, and are replaced when they die."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from t5lite.core.errors import TransientError

_NO_SHARED_MEMORY = 1 << 62
"""Bytes of an array from which on Grain would use it."""
_GRAINS_WORDS = "Worker process was terminated unexpectedly"
_MAX_DEATHS = 3
"""In a row, each within ``_ITEMS_BETWEEN_DEATHS`` items of the one before; the next is the end."""
_ITEMS_BETWEEN_DEATHS = 1000
_LOG = logging.getLogger(__name__)


class Steps(Protocol):
    """What is computed: item ``i`` in worker ``i % num_workers``, which gets a pickled copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


@dataclass(frozen=True)
class _From:
    """The items of ``steps`` from ``first`` on."""

    steps: Steps
    first: int

    def __len__(self) -> int:
        return len(self.steps) - self.first

    def __getitem__(self, index: Any) -> Any:
        return self.steps[self.first + int(index)]


def from_workers(steps: Steps, num_workers: int) -> Iterator[Any]:
    """Yield the items of ``steps`` in order, prepared by ``num_workers`` spawned processes.

    When one dies, as where the kernel kills it because memory runs out, all are started again and go on with
    the next item: an item depends on its index alone.

    Raises:
      TransientError: when workers have died again and again, with what became of the last; and whatever an
        item raises.
    """
    position = num_deaths = last_death = 0
    while position < len(steps):
        try:
            for item in _from_new_workers(_From(steps, position), num_workers):
                position += 1
                yield item
        except RuntimeError as error:
            if not str(error).startswith(_GRAINS_WORDS):
                raise
            num_deaths = 1 if position - last_death > _ITEMS_BETWEEN_DEATHS else num_deaths + 1
            last_death = position
            what = (
                f"one of the {num_workers} data workers of process {os.getpid()} died {_how(str(error))}, "
                f"before item {position:,} of this start"
            )
            if num_deaths > _MAX_DEATHS:
                raise TransientError(
                    f"{what}, for the {num_deaths}. time in a row; start "
                    "again, with fewer loader.num_workers if memory was short: training goes on from its "
                    "newest checkpoint"
                ) from error
            _LOG.warning(
                "%s; started again (%d of %d times in a row), nothing is skipped; use fewer "
                "loader.num_workers if memory is short",
                *(what, num_deaths, _MAX_DEATHS),
            )


def _from_new_workers(steps: Steps, num_workers: int) -> Iterator[Any]:
    import grain  # brings JAX along, which takes a second that only those with workers pay
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain hands absl's flags to its workers, and we have none to parse
    dataset = grain.MapDataset.source(steps).to_iter_dataset(
        grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    )
    # Through pipes: a container's /dev/shm is often too small for batches, and who dies leaks there.
    dataset = grain.experimental.WithOptionsIterDataset(
        dataset, grain.experimental.DatasetOptions(min_shm_size=_NO_SHARED_MEMORY)
    )
    options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
    iterator = iter(dataset.mp_prefetch(options, worker_init_fn=_live_as_long_as_the_parent))
    try:
        yield from iterator
    finally:
        close: Any = getattr(iterator, "close", None)
        if close is not None:
            close()


def _how(message: str) -> str:
    """Return what became of a worker, by the exit code in Grain's message."""
    code = next(
        (int(word.rstrip(".")) for word in message.split() if word.rstrip(".").lstrip("-").isdigit()), 0
    )
    if code >= 0:
        return f"with exit code {code}"
    name = signal.Signals(-code).name
    return f"of {name}{' (as the kernel sends where memory runs out)' if -code == signal.SIGKILL else ''}"


def _live_as_long_as_the_parent(worker_index: int, num_workers: int) -> None:
    """Set up a worker process: signals are the main process's business, and its death is the worker's.

    Ctrl-C, a terminal that closes, Slurm and systemd signal the whole process group. The main process goes
    on to the step at which all hosts stop and needs batches until then; it then closes its workers, by an
    event and, should that fail, by SIGKILL. None of that happens when it is killed itself, hence the thread
    that waits for its end.
    """
    del worker_index, num_workers
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_after_the_parent, name="parent watch", daemon=True).start()


def _exit_after_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
