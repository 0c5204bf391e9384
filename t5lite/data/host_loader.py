"""Host batches to global device arrays, ahead of the step that needs them."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.data.opening import OnDamage

_TICK_SECONDS = 0.1
_PATIENCE_SECONDS = 2.0
"""How long a source has to return what it was asked for when nobody wants it any more."""


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are prepared and kept ready; changes speed, never content, but for ``on_damage``."""

    num_workers: int = 0
    """Processes of each host that prepare batches; 0 does it in a thread of the training process."""

    prefetch: int = 2
    """Batches kept ready on the devices."""

    on_damage: OnDamage = "stop"
    """What a damaged or missing piece of training data does: stop the run, naming the file and the page, or
    leave the rows that need it blank, with no weight in the loss, and count them."""

    def __post_init__(self):
        if self.num_workers < 0:
            raise ConfigError(f"loader.num_workers={self.num_workers} must not be negative")
        if self.prefetch < 1:
            raise ConfigError(f"loader.prefetch={self.prefetch} must be at least 1")


def local_rows(sharding: jax.sharding.NamedSharding, batch_size: int) -> slice:
    """Return the contiguous rows of the global batch that this process must load.

    Args:
      sharding: of a [batch, length] field.
      batch_size: rows of the global batch; the mesh must divide it.

    Raises:
      ConfigError: if this process's devices hold rows that are not contiguous.
    """
    parts = sharding.addressable_devices_indices_map((batch_size, 1)).values()
    bounds = sorted({part[0].indices(batch_size)[:2] for part in parts if part is not None})
    for (_, stop), (start, _) in itertools.pairwise(bounds):
        if stop != start:
            raise ConfigError(
                f"this process's devices hold rows {bounds} of the batch, which are not contiguous; put the "
                "batch axes of the mesh (replica, fsdp) before sequence and tensor"
            )
    return slice(bounds[0][0], bounds[-1][1])


@contextmanager
def device_batches(
    batches: Iterable[Mapping[str, np.ndarray]],
    *,
    sharding: jax.sharding.NamedSharding,
    prefetch: int = 2,
    while_waiting: Callable[[], None] = lambda: None,
) -> Iterator[Iterator[dict[str, jax.Array]]]:
    """Yield an iterator of global arrays; a thread keeps ``prefetch`` batches ready on the devices.

    When the block ends, the thread is stopped and the source closed, worker processes included. A source that
    does not answer is left alone: its thread and its workers end with the process.

    Args:
      batches: this process's rows of each global batch (``local_rows``).
      sharding: of every field.
      prefetch: batches kept ready, at least 1; each takes device memory.
      while_waiting: is called again and again while there is no batch; what it raises ends the waiting.
    """
    if prefetch < 1:
        raise ConfigError(f"prefetch={prefetch} must be at least 1")
    ready: queue.Queue[Any] = queue.Queue(prefetch)
    stop = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(batches, sharding, ready, stop), name="device_batches", daemon=True
    )
    thread.start()
    try:
        yield _received(ready, while_waiting)
    finally:
        stop.set()
        thread.join(_PATIENCE_SECONDS)
        close: Any = getattr(batches, "close", None)
        if close is not None and not thread.is_alive():
            close()


def _received(ready: queue.Queue[Any], while_waiting: Callable[[], None]) -> Iterator[dict[str, jax.Array]]:
    while True:
        try:
            item = ready.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            while_waiting()
            continue
        if item is None:
            return
        if isinstance(item, BaseException):
            raise item
        yield item


def _fill(
    batches: Iterable[Mapping[str, np.ndarray]],
    sharding: jax.sharding.NamedSharding,
    ready: queue.Queue[Any],
    stop: threading.Event,
) -> None:
    """Move batches to the devices until they end (None follows) or fail (the error follows)."""
    try:
        for batch in batches:
            arrays = {
                name: jax.make_array_from_process_local_data(sharding, field) for name, field in batch.items()
            }
            if not _put(arrays, ready, stop):
                return
        _put(None, ready, stop)
    except BaseException as error:
        _put(error, ready, stop)


def _put(item: Any, ready: queue.Queue[Any], stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=_TICK_SECONDS)
            return True
        except queue.Full:
            continue
    return False
