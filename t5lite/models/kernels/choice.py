"""Which op computes attention: the wanted one if it can, else the reference, and why."""

import functools
import logging

from t5lite.models.config import AttentionBackend
from t5lite.models.kernels.shapes import AttentionShape
from t5lite.models.kernels.table import KERNELS
from t5lite.partitioning.rules import Partitioner, active_partitioner, target_platform

logger = logging.getLogger(__name__)

_SHORTEST_FOR_FLASH = 256 * 256
"""Logits a head and row from which the kernel is chosen: docs/attention.md has the table."""


def choose_backend(wanted: AttentionBackend, shape: AttentionShape) -> str:
    """Return ``reference``, or the name of a kernel.

    Args:
      wanted: the backend, or ``auto`` for the platform's own where it pays. One that cannot compute this
        shape gives way to the reference, which computes everything; the reason is logged once.
      shape: of the call.
    """
    return backend_on(target_platform(), active_partitioner(), wanted, shape)


@functools.cache
def backend_on(
    platform: str, partitioner: Partitioner | None, wanted: AttentionBackend, shape: AttentionShape
) -> str:
    """Return the backend under a partitioner that need not be active, whose mesh may be abstract.

    Where there was a choice, the reason is told.
    """
    backend: str = wanted
    if wanted == "auto":
        own = (name for name, kernel in KERNELS.items() if platform in kernel.platforms)
        backend = next(own, "reference")
    if backend not in KERNELS:
        return backend  # as asked for, or there is no other for this platform: nothing to tell
    refusal = (
        _not_for_platform(backend, platform)
        or ("a step of decoding has one query" if shape.cached else None)
        or ("merged attention has keys of two stacks in one softmax" if shape.merged else None)
        or _window_beyond_keys(shape)
        or KERNELS[backend].refusal(shape, partitioner)
        or (_too_short(shape) if wanted == "auto" else None)
    )
    if refusal:
        expected = wanted == "auto" or shape.cached
        level = logging.INFO if expected else logging.WARNING
        _tell(level, f"attention of {shape.short}: the reference op, not {backend} ({refusal})")
        return "reference"
    _tell(logging.INFO, f"attention of {shape.short}: {backend} on platform {platform!r}")
    return backend


@functools.cache
def _tell(level: int, message: str) -> None:
    """Log a message for the first time that it is told."""
    logger.log(level, message)


def _not_for_platform(backend: str, platform: str) -> str | None:
    if platform not in KERNELS[backend].platforms:
        return f"it does not run on platform {platform!r}"
    return None


def _window_beyond_keys(shape: AttentionShape) -> str | None:
    if shape.window is not None and shape.query_length > shape.key_length:
        return "its window is over keys that end before the queries"
    return None


def _too_short(shape: AttentionShape) -> str | None:
    if shape.query_length * shape.key_length < _SHORTEST_FOR_FLASH:
        return f"so few logits are no burden; below {_SHORTEST_FOR_FLASH} of a head"
    return None
