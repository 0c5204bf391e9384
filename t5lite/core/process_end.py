"""End this process where an ordinary exit would wait for what does not answer."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator

_LAST_WORDS_SECONDS = 2.0
"""How long they may take: what they are written to may be what hangs."""
_last_words: list[Callable[[int], object]] = []
_EXIT_SECONDS = 3.0
_DONE_EXIT_SECONDS = 90.0
"""After success, beside ``_waits``: what is left is to free memory, and threads that may never end."""
_waits: list[float] = []


@contextlib.contextmanager
def last_words(speak: Callable[[int], object]) -> Iterator[None]:
    """During the block, have ``end_now`` call ``speak`` with the exit code first, on a thread of its own."""
    _last_words.append(speak)
    try:
        yield
    finally:
        _last_words.remove(speak)


def end_now(code: int) -> None:
    """End the process with ``code`` at once, from any thread; nothing is flushed.

    Its worker processes are killed: a stopped one would not notice that its parent has gone.
    """
    for child in multiprocessing.active_children():
        child.kill()
    for speak in list(_last_words):
        speaking = threading.Thread(target=speak, args=(code,), daemon=True)
        speaking.start()
        speaking.join(_LAST_WORDS_SECONDS)
    os._exit(code)


def waits_at_exit(seconds: float) -> None:
    """Say that an ordinary exit of this process may take this long, for which ``end_soon`` then allows."""
    _waits.append(seconds)


def end_soon(code: int) -> None:
    """End the process with ``code`` unless it soon ends by itself, from now on.

    After a failure, or a signal, that is in seconds; after success an ordinary exit has the time that it may
    take.
    """
    timer = threading.Timer(_EXIT_SECONDS if code else _DONE_EXIT_SECONDS + sum(_waits), end_now, (code,))
    timer.daemon = True
    timer.start()
