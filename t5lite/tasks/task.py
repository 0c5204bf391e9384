"""What a task is."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Task:
    """A use of text pairs: how what a model writes is scored.

    Attributes:
      name: what recipes call it.
      metrics: names of metrics (``evaluation.metrics.METRICS``), in the order of a report; in every one of
        them, higher is better.
      has_classes: whether the targets name classes, which the vocabulary has to tell apart.
    """

    name: str
    metrics: tuple[str, ...]
    has_classes: bool = False
