"""The shares of a mixture's sources, and which source's which example stands at a position.

Shares are whole numbers of places in a period of 65,536, in which every source's places lie as evenly as
they can. So the example at a position follows from a table of the period and a division: nothing is drawn,
and any position costs the same. seqio's mixtures draw a source for each example instead, which gives the same
shares in the long run and other ones in each batch.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t5lite.core.errors import ConfigError

PERIOD = 1 << 16
"""Places over which the shares are exact."""
NO_SOURCE = ""
"""Stands for what a run trains on while it is no mixture; no source can have that name."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """The places of a source in a period."""

    name: str
    places: int


@dataclass(frozen=True, kw_only=True)
class MixturePhase:
    """Shares that hold from a position on."""

    first_position: int
    """Of the endless stream of examples: those seen before these shares held."""
    shares: tuple[Share, ...]
    """By name; their places add up to ``PERIOD``."""

    @cached_property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """For each place of the period: the number of its source, and how often that came before."""
        sources = np.repeat(np.arange(len(self.shares)), [share.places for share in self.shares])
        ranks = np.concatenate([np.arange(share.places) for share in self.shares])
        times = np.concatenate([(np.arange(share.places) + 0.5) / share.places for share in self.shares])
        order = np.argsort(times, kind="stable")
        return sources[order], ranks[order]


@dataclass(frozen=True, kw_only=True)
class MixtureHistory:
    """The shares that a run has had, and those it has now: a source goes on where it was when they change."""

    phases: tuple[MixturePhase, ...]

    @staticmethod
    def elsewhere() -> "MixtureHistory":
        """Return the history of a run that has trained on no mixture yet."""
        return MixtureHistory(phases=()).left(position=0)

    def left(self, *, position: int) -> "MixtureHistory":
        """Return the history of a run that trains on no mixture from ``position`` on: its sources wait."""
        return self.changed((Share(name=NO_SOURCE, places=PERIOD),), position=position)

    def changed(self, shares: tuple[Share, ...], *, position: int) -> "MixtureHistory":
        """Return the history of a run that goes on from ``position`` with ``shares``.

        What lies beyond ``position`` is forgotten: the run has gone back to an earlier checkpoint.
        """
        phases = [phase for phase in self.phases if phase.first_position < position]
        if not phases or phases[-1].shares != shares:
            phases.append(MixturePhase(first_position=position if phases else 0, shares=shares))
        return MixtureHistory(phases=tuple(phases))

    @property
    def is_of_no_mixture(self) -> bool:
        """Whether there never was a mixture."""
        return all(share.name == NO_SOURCE for phase in self.phases for share in phase.shares)

    @property
    def current(self) -> MixturePhase:
        """What holds now."""
        return self.phases[-1]


def shares_of(rates: Mapping[str, float]) -> tuple[Share, ...]:
    """Return the places of each source, sorted by name, that come nearest to its rate; at least one.

    Places are rounded by the method of largest remainders.

    Raises:
      ConfigError: for more sources than there are places.
    """
    names = sorted(rates)
    if len(names) > PERIOD:
        raise ConfigError(f"a mixture of {len(names)} sources; at most {PERIOD:,} can be told apart")
    exact = np.array([rates[name] for name in names])
    exact = exact / exact.max()  # so that their sum is finite whatever they are
    exact *= PERIOD / exact.sum()
    places = np.maximum(np.floor(exact).astype(np.int64), 1)
    order = np.argsort(-(exact - places), kind="stable")
    places[order[: max(PERIOD - int(places.sum()), 0)]] += 1
    while (excess := int(places.sum()) - PERIOD) > 0:  # of many tiny sources that got one each
        places[places.argmax()] -= min(excess, max(1, int(places.max()) // 2))
    return tuple(Share(name=name, places=int(count)) for name, count in zip(names, places, strict=True))


class MixtureSchedule:
    """Which source, and which of its examples, stands at each position.

    Args:
      history: of the shares.
      names: of the sources now, in the order in which they are numbered here.
    """

    def __init__(self, history: MixtureHistory, names: Sequence[str]):
        self._names, self._phases = list(names), history.phases
        self._firsts = [phase.first_position for phase in self._phases]
        # How many examples of each source ever come before a phase; by name, for sources come and go.
        self._before: list[dict[str, int]] = [{}]
        for phase, following in zip(self._phases, self._firsts[1:], strict=False):
            counts = dict(self._before[-1])
            for name, count in self._counts(phase, following - phase.first_position).items():
                counts[name] = counts.get(name, 0) + count
            self._before.append(counts)

    @staticmethod
    def _counts(phase: MixturePhase, places: int) -> dict[str, int]:
        """Return the examples of each source among the first ``places`` of a phase."""
        periods, rest = divmod(places, PERIOD)
        partial = np.bincount(phase.table[0][:rest], minlength=len(phase.shares)).tolist()
        return {
            share.name: periods * share.places + extra
            for share, extra in zip(phase.shares, partial, strict=True)
        }

    def lookup(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (source, number): which of ``names``, and which of its examples, counted over all epochs."""
        sources, numbers = np.empty_like(positions), np.empty_like(positions)
        which = np.searchsorted(self._firsts, positions, side="right") - 1
        for place in np.unique(which).tolist():
            chosen = which == place
            sources[chosen], numbers[chosen] = self._in_phase(place, positions[chosen])
        return sources, numbers

    def _in_phase(self, place: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        phase, before = self._phases[place], self._before[place]
        source_of_place, rank_of_place = phase.table
        periods, places = np.divmod(positions - phase.first_position, PERIOD)
        local = source_of_place[places]
        each = np.array([share.places for share in phase.shares])
        offsets = np.array([before.get(share.name, 0) for share in phase.shares])
        numbering = {name: number for number, name in enumerate(self._names)}
        # Of a source that is no longer here (-1) the run asks for nothing: its phase is over.
        renumbered = np.array([numbering.get(share.name, -1) for share in phase.shares])
        return renumbered[local], offsets[local] + periods * each[local] + rank_of_place[places]

    def counts(self, position: int) -> dict[str, int]:
        """Return how many examples of each source of ``names`` come before ``position``."""
        place = max(bisect.bisect_right(self._firsts, position) - 1, 0)
        phase = self._phases[place]
        inside = self._counts(phase, position - phase.first_position)
        before = self._before[place]
        return {name: before.get(name, 0) + inside.get(name, 0) for name in self._names}

    def position_of(self, name: str, number: int) -> int:
        """Return the position, in the current phase, of the ``number``-th example of a source."""
        phase, before = self._phases[-1], self._before[-1]
        left = max(number - before.get(name, 0), 0)
        source = next(place for place, share in enumerate(phase.shares) if share.name == name)
        periods, rest = divmod(left, phase.shares[source].places)
        place = int(np.flatnonzero(phase.table[0] == source)[rest])
        return phase.first_position + periods * PERIOD + place
