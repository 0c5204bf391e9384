"""Orbax's threads of a save that failed.

Each part of a save waits in a thread for the parts before it. Where one of them raises, its signal never
comes, and the threads wait for it until Orbax's timeout of minutes; they are no daemons, so that the process
does not end before.
"""

import threading

from orbax.checkpoint._src.futures import future

from t5lite.partitioning import multihost


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
