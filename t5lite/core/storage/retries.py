"""Requests that the clients of object storage try again by themselves: counted, and said.

They say so in messages for developers alone (gcsfs, s3fs and botocore log them as DEBUG), from which they are
counted here; TensorStore, which reads and writes the arrays of checkpoints, tries again without a word.
"""

import atexit
import logging
import threading

_LOG = logging.getLogger(__name__)
_MARKS = {
    "gcsfs": "retrying after exception",
    "s3fs": "Retryable error",
    "botocore.retryhandler": "Retry needed",
}
"""By the name of a logger, what it says when a request is tried again."""
_GIVEN_UP = "out of retries on exception"
"""How gcsfs says, with a traceback, that it raises an error."""
_CHATTY = "gcsfs.credentials"
"""Says as DEBUG how it looks for credentials, with tracebacks."""


class RetryCount(logging.Filter):
    """Counts what was tried again; the first is said at once, their number when the process ends."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._lock = threading.Lock()

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

    def filter(self, record: logging.LogRecord) -> bool:
        """Count a record of something tried again; drop tracebacks of what is raised as an error, too."""
        if _GIVEN_UP in record.getMessage():
            return False
        if _MARKS[record.name] in record.getMessage():
            with self._lock:
                self.total += 1
                is_first = self.total == 1
            if is_first:
                reason = " ".join(record.getMessage().split())[:200]
                _LOG.warning("object storage: a request failed and is tried again (%s)", reason)
        return True

    def say(self) -> None:
        """Say how many there were, if there was more than the one that was said."""
        if self.total > 1:
            _LOG.warning("object storage: %d requests in all failed and were tried again", self.total)


RETRIES = RetryCount()
"""Of this process."""
