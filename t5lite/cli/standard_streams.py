"""The standard streams of a command whose other ends are closed, go away, or fill.

What is only said never ends what is done: a training goes on when the terminal, the ``tee`` or the disk that
its messages go to has gone.
"""

import contextlib
import io
import os
import select
import sys
from typing import Any


def secure() -> None:
    """Open what is closed, and let no message fail; for a process that is a command, before it opens files.

    Else the first file that is opened would get the number of a closed stream, and messages of libraries.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = unfailing(1, encoding="utf-8")
    sys.stderr = unfailing(2, encoding=sys.stderr.encoding if sys.stderr else "utf-8")


def unfailing(descriptor: int, *, encoding: str) -> io.TextIOWrapper:
    """Return a stream that drops what its other end does not take."""
    raw = _Unfailing(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True
    )


def reader_is_gone() -> bool:
    """Return whether nobody reads the standard output any more."""
    poll = select.poll()
    with contextlib.suppress(OSError, ValueError):  # it has no descriptor, in a test
        poll.register(sys.stdout.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    return False


class _Unfailing(io.FileIO):
    def write(self, content: Any) -> int | None:
        try:
            written = super().write(content)
        except OSError:
            return len(content)
        return len(content) if written is None else written  # None: it is full, and does not wait
