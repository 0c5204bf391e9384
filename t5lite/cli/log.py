"""What the package logs, shown by the commands whose users it concerns."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def shown(name: str) -> Iterator[None]:
    """Print to standard error what the loggers below ``name`` say, not only their warnings."""
    logger = logging.getLogger(name)
    level, propagate, handler = logger.level, logger.propagate, logging.StreamHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # libraries give the root logger handlers of their own
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
