"""Orbax's threads of a save that failed.

Each part of a save waits in a thread for the parts before it. Where one of them raises, its signal never
comes, and the threads wait for it until Orbax's timeout of minutes; they are no daemons, so that the process
does not end before.
"""

import threading

from etils import epath
from orbax.checkpoint._src.futures import future
from orbax.checkpoint._src.metadata.array_metadata_store import Store
from orbax.checkpoint._src.path import async_path

from t5lite.partitioning import multihost


def wait_for_no_folder() -> None:
    """Let every process make the folder of array metadata, in all saves.

    Orbax lets the others look every quarter of a second whether the leader has made it, for ten minutes where
    the leader's part of the save has failed.
    """

    async def make(self: Store, base_dir: epath.Path) -> None:
        del self
        await async_path.mkdir(base_dir, parents=True, exist_ok=True)

    Store._maybe_create_base_dir = make


def end_waiting() -> None:
    """End the threads that wait for a part of a failed save.

    The signals are those of the leader, who makes the directories, to all processes. Those of others go on by
    them, and write what nobody puts in place.
    """
    if not multihost.is_leader():
        return
    waiting = [thread for thread in threading.enumerate() if isinstance(thread, future._SignalingThread)]
    for thread in waiting:
        thread.cancel()
    for thread in waiting:  # a cancelled thread does nothing when its signal comes
        future.set_signals(thread._receive_signals, operation_id=thread._operation_id)
