"""The batches of a mixture: rows of several sources in fixed shares, brought to one shape."""

import functools
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from t5lite.core.batch_fields import SEGMENT_IDS, BatchSpec
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.batch_stream import BatchStream
from t5lite.data.mixture_schedule import PERIOD, MixtureHistory, MixtureSchedule, shares_of
from t5lite.data.opening import Opening
from t5lite.data.source_pipeline import Pipeline

if TYPE_CHECKING:
    from t5lite.data.mixture import MixtureDataConfig

_MIXTURE = 4
"""Tells the seeds of sources from anything else that is derived from the seed."""


def open_mixture(config: "MixtureDataConfig", opening: Opening) -> "MixturePipeline":
    """Open all the sources of a mixture.

    Raises:
      DataError: if a source cannot be used, or belongs to another vocabulary than the others.
      ConfigError: if a source does not train such models, or has had all its epochs.
    """
    if opening.architecture is not None:
        config.lengths(opening.architecture)
    sources: dict[str, Pipeline] = {}
    fingerprint = opening.vocabulary_fingerprint
    for source in config.sources:
        seed = _source_seed(opening.seed, source.name)
        try:
            opened = source.data.open(replace(opening, seed=seed, vocabulary_fingerprint=fingerprint))
        except (ConfigError, DataError) as error:
            raise type(error)(f"source {source.name!r}: {error}") from error
        fingerprint = opened.vocabulary.fingerprint
        sources[source.name] = opened
    shares = shares_of(config.rates({name: opened.num_examples for name, opened in sources.items()}))
    history = (opening.history or MixtureHistory(phases=())).changed(shares, position=opening.position)
    again = replace(
        opening,
        vocabulary_fingerprint=fingerprint,
        history=history,
        position=max(opening.position, history.current.first_position + 1),
    )
    return MixturePipeline(sources, history=history, reopen=functools.partial(open_mixture, config, again))


def _source_seed(seed: int, name: str) -> int:
    """Return the seed of a source: its order and its noise are its own, whatever it is mixed with."""
    sequence = np.random.SeedSequence([seed, _MIXTURE, *name.encode()])
    return int(sequence.generate_state(1, np.uint32)[0])


class MixturePipeline(BatchStream):
    """Batches of rows of several sources; open it with ``open_pipeline``.

    A row of a shorter source is padded to the longest, with segment ids that say so; a field that its source
    has not is 0, a label that it has not negative.

    Attributes:
      history: of the shares.
      schedule: which source stands where.
    """

    def __init__(self, sources: dict[str, Pipeline], *, history: MixtureHistory, reopen: functools.partial):
        super().__init__(reopen)
        self._sources = sources
        self._shares, self.history = history.current.shares, history
        self.schedule = MixtureSchedule(history, list(sources))
        opened = list(sources.values())
        self.vocabulary = opened[0].vocabulary
        self.num_examples = sum(each.num_examples for each in opened)
        self.spec = BatchSpec.covering(each.spec for each in opened)
        self.report = {}
        self._blank = self.spec.blank(1)
        self._set_end()

    @property
    def sources(self) -> dict[str, Pipeline]:
        """The sources' pipelines by name."""
        return self._sources

    @property
    def shares(self) -> dict[str, float]:
        """The share of each source in the examples, from now on."""
        return {share.name: share.places / PERIOD for share in self._shares}

    def _set_end(self) -> None:
        """The stream ends where a source with ``max_epochs`` would be asked for more."""
        ends = {
            name: self.schedule.position_of(name, each.num_positions)
            for name, each in self.sources.items()
            if each.num_positions is not None
        }
        self.num_positions = min(ends.values(), default=None)
        if ends:
            first = min(ends, key=lambda name: ends[name])
            self.end = (
                f"source {first!r} with {self.sources[first].end} and a share of {self.shares[first]:.2%}"
            )

    def rows(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the fields of rows ``positions`` of the endless stream of examples."""
        which, numbers = self.schedule.lookup(positions)
        batch = {name: np.repeat(row, len(positions), axis=0) for name, row in self._blank.items()}
        for number, pipeline in enumerate(self.sources.values()):
            chosen = np.flatnonzero(which == number)
            if not chosen.size:
                continue
            fields = pipeline.rows(numbers[chosen])
            for name, side in SEGMENT_IDS.items():
                if name in batch and name not in fields:
                    fields[name] = np.ones((chosen.size, pipeline.spec.lengths[side]), np.int32)
            for name, field in fields.items():
                if field.ndim > 1:
                    batch[name][chosen, : field.shape[1]] = field
                else:
                    batch[name][chosen] = field
        return batch

    def counts(self, rows: int) -> dict[str, int]:
        """Return how many of the first ``rows`` are of each source."""
        return self.schedule.counts(rows)

    def first_rows(self, count: int) -> dict[str, np.ndarray]:
        """Return where the first ``count`` rows of each source are."""
        return {
            name: np.array([self.schedule.position_of(name, number) for number in range(count)])
            for name in self.sources
        }

    def _take_skipped(self) -> Counter[str]:
        return sum((each._take_skipped() for each in self.sources.values()), Counter())
