"""Worker processes that prepare batches: they die with their parent, and are missed when they die."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, Protocol

from t5lite.core.errors import DataError

_NO_SHARED_MEMORY = 1 << 62
"""Bytes of an array from which on Grain would use it."""
_GRAINS_WORDS = "Worker process was terminated unexpectedly"


class Steps(Protocol):
    """What is computed: item ``i`` in worker ``i % num_workers``, which gets a pickled copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


def from_workers(steps: Steps, num_workers: int) -> Iterator[Any]:
    """Yield the items of ``steps`` in order, prepared by ``num_workers`` spawned processes.

    Raises:
      DataError: when a worker has died, with what became of it; and whatever an item raises.
    """
    if not len(steps):
        return  # Grain takes no empty source
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
    except RuntimeError as error:
        if not str(error).startswith(_GRAINS_WORDS):
            raise
        raise DataError(
            f"one of the {num_workers} data workers of process {os.getpid()} died {_how(str(error))}; run "
            "again, with fewer loader.num_workers if memory was short: training goes on from its newest "
            "checkpoint"
        ) from error
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

    Ctrl-C, Slurm and systemd signal the whole process group. The main process goes on to the step at which
    all hosts stop and needs batches until then; it then closes its workers, by an event and, should that
    fail, by SIGKILL. None of that happens when it is killed itself, hence the thread that waits for its end.
    """
    del worker_index, num_workers
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_after_the_parent, name="parent watch", daemon=True).start()


def _exit_after_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
