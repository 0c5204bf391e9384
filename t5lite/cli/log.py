"""What the package logs, shown as it is: one handler, of its own."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PACKAGE = "t5lite"


class _Shown(logging.Handler):
    """Prints messages to standard error, whichever stream that is by then."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def show_notices() -> Callable[[], None]:
    """Print what the package logs, a message as it is; return what takes that back.

    Without a handler of its own, what handles it is anybody's: Orbax has absl give the root logger one, as
    soon as it is imported, whose lines begin with ``WARNING:t5lite.``.
    """
    package = logging.getLogger(_PACKAGE)
    if any(isinstance(handler, _Shown) for handler in package.handlers):
        return lambda: None
    handler, propagate = _Shown(), package.propagate

    def undo() -> None:
        package.removeHandler(handler)
        package.propagate = propagate

    package.addHandler(handler)
    package.propagate = False
    return undo


@contextmanager
def shown(name: str) -> Iterator[None]:
    """Let the loggers below ``name`` say more than their warnings, under ``show_notices``."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
