"""Rows that are no examples, each for a reason that is counted and said."""

from typing import ClassVar

from t5lite.data.reading.tally import Loss


class LeftOutError(ValueError):
    """A row is no example, for a reason that is counted and said."""

    loss: ClassVar[Loss]


class NotThereError(LeftOutError):
    """An answer that is to be found in a text does not stand there."""

    loss = Loss.NOT_THERE


class MisplacedError(LeftOutError):
    """An answer does not stand in a text where it is said to start."""

    loss = Loss.MISPLACED


class NoLabelError(LeftOutError):
    """There is no label: -1 in ``datasets``, ``-`` in SNLI's own files where its annotators did not agree."""

    loss = Loss.NO_LABEL


class UnevenError(LeftOutError):
    """There is not one tag a word."""

    loss = Loss.UNEVEN
