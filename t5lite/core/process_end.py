"""End this process where an ordinary exit would wait for what does not answer."""

import multiprocessing
import os
import threading


def end_now(code: int) -> None:
    """End the process with ``code`` at once, from any thread; nothing is flushed.

    Its worker processes are killed: a stopped one would not notice that its parent has gone.
    """
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


def end_within(seconds: float, code: int) -> None:
    """End the process with ``code`` unless it ends by itself within ``seconds`` from now."""
    timer = threading.Timer(seconds, end_now, (code,))
    timer.daemon = True
    timer.start()
