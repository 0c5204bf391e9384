"""Requests that the clients of object storage try again by themselves: counted, and said.

They say so in messages for developers alone (gcsfs, s3fs and botocore log them as DEBUG), from which they are
counted here. TensorStore, which reads and writes the arrays of checkpoints, counts its own.
"""

import atexit
import logging
import threading
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_MARKS = {
    "gcsfs": "retrying after exception",
    "s3fs": "Retryable error",
    "botocore.retryhandler": "Retry needed, ",
    "botocore.retries.standard": "Retry needed, ",
}
"""By the name of a logger, what it says when a request is tried again."""
_GIVEN_UP = ("out of retries on exception", "non-retriable exception")
"""How gcsfs says, with a traceback, that it raises an error."""
_CHATTY = "gcsfs.credentials"
"""Says as DEBUG how it looks for credentials, with tracebacks."""


class RetryCount(logging.Filter):
    """Counts what was tried again; the first is said at once, their number when the process ends."""

    def __init__(self) -> None:
        super().__init__()
        self._counted = self._said = 0
        self._others: list[Callable[[], int]] = []
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """Requests that were tried again until now."""
        return self._counted + sum(count() for count in self._others)

    def watch(self) -> None:
        """Begin to count."""
        for name in _MARKS:
            logger = logging.getLogger(name)
            if self not in logger.filters:
                logger.addFilter(self)
                if not logger.isEnabledFor(logging.DEBUG):
                    logger.setLevel(logging.DEBUG)
                    logger.addFilter(lambda record: record.levelno >= logging.WARNING)
        if not logging.getLogger(_CHATTY).level:
            logging.getLogger(_CHATTY).setLevel(logging.WARNING)
        atexit.register(self.say)

    def add(self, count: Callable[[], int]) -> None:
        """Add what a client has tried again by its own count."""
        self._others.append(count)

    def count(self, reason: str) -> None:
        """Count a request that is about to be tried again."""
        with self._lock:
            self._counted += 1
            is_first = not self._said
            self._said = self._said or 1
        if is_first:
            _LOG.warning("object storage: a request failed and is tried again (%s)", reason)

    def filter(self, record: logging.LogRecord) -> bool:
        """Count a record of something tried again; drop tracebacks of what is raised as an error, too."""
        if any(mark in record.getMessage() for mark in _GIVEN_UP):
            return False
        if _MARKS[record.name] in record.getMessage():
            self.count(" ".join(record.getMessage().split())[:200])
        return True

    def say(self) -> None:
        """Say how many there were, if there were more than what was said."""
        total = self.total
        if total > self._said:
            self._said = total
            _LOG.warning("object storage: %d requests in all failed and were tried again", total)


RETRIES = RetryCount()
"""Of this process."""
