"""The batches of a mixture: rows of several sources in fixed shares, brought to one shape."""

import functools
from collections import Counter

import numpy as np

from t5lite.core.batch_fields import BATCH_FIELDS, SEGMENT_IDS, Side
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.batch_stream import BatchStream
from t5lite.data.mixture import PERIOD, MixtureDataConfig, MixtureHistory, MixtureSchedule, shares_of
from t5lite.data.source_pipeline import OnDamage, Opening, Pipeline, open_source

_MIXTURE = 4
"""Tells the seeds of sources from anything else that is derived from the seed."""


def open_mixture(
    config: MixtureDataConfig,
    *,
    architecture: str | None = None,
    seed: int = 0,
    shuffle: bool = True,
    vocabulary_fingerprint: str | None = None,
    on_damage: OnDamage = "stop",
    history: MixtureHistory | None = None,
    position: int = 0,
) -> "MixturePipeline":
    """Open all the sources of a mixture.

    Args:
      config: the sources and their shares.
      architecture: of the model that is fed; None as for the first source.
      seed: with a source's name, of its order and its noise.
      shuffle: whether the sources' examples come in random order.
      vocabulary_fingerprint: of the vocabulary the data must belong to; None accepts any.
      on_damage: as of ``open_pipeline``.
      history: of the shares that the run has had; None for a run that begins.
      position: where a run with a history goes on.

    Raises:
      DataError: if a source cannot be used, or belongs to another vocabulary than the others.
      ConfigError: if a source does not train such models, or has had all its epochs.
    """
    if architecture is not None:
        config.lengths(architecture)
    sources: dict[str, Pipeline] = {}
    for source in config.sources:
        opening = Opening(
            architecture=architecture,
            seed=_source_seed(seed, source.name),
            shuffle=shuffle,
            vocabulary_fingerprint=vocabulary_fingerprint,
            on_damage=on_damage,
        )
        try:
            opened = open_source(source.data, opening)
        except (ConfigError, DataError) as error:
            raise type(error)(f"source {source.name!r}: {error}") from error
        vocabulary_fingerprint = opened.vocabulary.fingerprint
        sources[source.name] = opened
    shares = shares_of(config.rates({name: opened.num_examples for name, opened in sources.items()}))
    history = (history or MixtureHistory(phases=())).changed(shares, position=position)
    reopen = functools.partial(
        open_mixture,
        config,
        architecture=architecture,
        seed=seed,
        shuffle=shuffle,
        vocabulary_fingerprint=vocabulary_fingerprint,
        on_damage=on_damage,
        history=history,
        position=max(position, history.current.first_position + 1),
    )
    return MixturePipeline(sources, history=history, reopen=reopen)


def _source_seed(seed: int, name: str) -> int:
    """Return the seed of a source: its order and its noise are its own, whatever it is mixed with."""
    sequence = np.random.SeedSequence([seed, _MIXTURE, *name.encode()])
    return int(sequence.generate_state(1, np.uint32)[0])


class MixturePipeline(BatchStream):
    """Batches of rows of several sources; open it with ``open_pipeline``.

    A row of a shorter source is padded to the longest, with segment ids that say so; a field that its source
    has not is 0, a label that it has not negative.

    Attributes:
      sources: the sources' pipelines by name.
      history: of the shares.
      schedule: which source stands where.
    """

    def __init__(self, sources: dict[str, Pipeline], *, history: MixtureHistory, reopen: functools.partial):
        super().__init__(reopen)
        self.sources, self.history = sources, history
        self.schedule = MixtureSchedule(history, list(sources))
        opened = list(sources.values())
        self.vocabulary = opened[0].vocabulary
        self.num_examples = sum(each.num_examples for each in opened)
        self.encoder_length = max(each.encoder_length for each in opened)
        self.decoder_length = max(each.decoder_length for each in opened)
        self.report = {}
        self._blank = self._blank_row()
        self._set_end()

    @property
    def shares(self) -> dict[str, float]:
        """The share of each source in the examples, from now on."""
        return {share.name: share.places / PERIOD for share in self.history.current.shares}

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

    def _blank_row(self) -> dict[str, np.ndarray]:
        """Return one row of every field that a source has, in the mixture's shape, blank."""
        names = {name: None for pipeline in self.sources.values() for name in pipeline.blank(1)}
        lengths: dict[Side, int] = {"encoder": self.encoder_length, "decoder": self.decoder_length}
        differ = len({(each.encoder_length, each.decoder_length) for each in self.sources.values()}) > 1
        if differ or names.keys() & SEGMENT_IDS.keys():
            names |= {name: None for name, side in SEGMENT_IDS.items() if lengths[side]}
        fields = {name: BATCH_FIELDS[name] for name in names}
        return {
            name: np.full(field.shape(1, lengths), field.absent, field.dtype)
            for name, field in fields.items()
        }

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
                    fields[name] = np.ones((chosen.size, getattr(pipeline, f"{side}_length")), np.int32)
            for name, field in fields.items():
                if field.ndim > 1:
                    batch[name][chosen, : field.shape[1]] = field
                else:
                    batch[name][chosen] = field
        return batch

    def _take_skipped(self) -> Counter[str]:
        return sum((each._take_skipped() for each in self.sources.values()), Counter())
