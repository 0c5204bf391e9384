import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.mixture_schedule import PERIOD, MixtureHistory, MixturePhase, MixtureSchedule, shares_of

TEXT = PretrainingDataConfig(store="text", inputs_length=32)
RATES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.floats(1e-6, 1e6), min_size=1, max_size=8
)


def sources(*weights):
    return tuple(MixtureSource(name=f"s{i}", data=TEXT, weight=weight) for i, weight in enumerate(weights))


def history_of(*rates):
    history = MixtureHistory(phases=())
    for position, each in rates:
        history = history.changed(shares_of(each), position=position)
    return history


@settings(deadline=None, max_examples=40)
@given(rates=RATES)
def test_shares_are_the_nearest_and_fill_the_period(rates):
    shares = {share.name: share.places for share in shares_of(rates)}
    assert sum(shares.values()) == PERIOD
    assert list(shares) == sorted(rates)
    assert min(shares.values()) >= 1
    total = sum(rates.values())
    tiny = sum(rate / total * PERIOD < 1 for rate in rates.values())
    for name, rate in rates.items():
        assert abs(shares[name] - rate / total * PERIOD) <= 1 + tiny


def test_many_tiny_sources_get_a_place_each():
    shares = shares_of({"big": 1e12, **{f"s{i}": 1e-9 for i in range(1000)}})
    assert sum(share.places for share in shares) == PERIOD
    assert {share.places for share in shares if share.name != "big"} == {1}


@settings(deadline=None, max_examples=30)
@given(rates=RATES, start=st.integers(0, 10**13), data=st.data())
def test_every_source_counts_through_and_shares_hold_in_every_stretch(rates, start, data):
    history = history_of((0, rates))
    names = list(rates)
    schedule = MixtureSchedule(history, names)
    length = data.draw(st.integers(1, 3000))
    which, numbers = schedule.lookup(np.arange(start, start + length))
    before, after = schedule.counts(start), schedule.counts(start + length)
    places = {share.name: share.places for share in history.current.shares}
    for place, name in enumerate(names):
        assert numbers[which == place].tolist() == list(range(before[name], after[name]))
        # Evenly spread: no stretch has noticeably more or fewer than its share of the places.
        assert abs((which == place).sum() - length * places[name] / PERIOD) <= len(names) + 1


def test_a_lookup_costs_the_same_anywhere_and_does_not_hang_on_its_neighbours():
    schedule = MixtureSchedule(history_of((0, {"a": 2, "b": 1})), ["a", "b"])
    positions = np.array([10**15, 3, 70_000, 65_535, 65_536])
    which, numbers = schedule.lookup(positions)
    for place, position in enumerate(positions.tolist()):
        alone = schedule.lookup(np.array([position]))
        assert (alone[0][0], alone[1][0]) == (which[place], numbers[place])


@settings(deadline=None, max_examples=30)
@given(
    first=RATES, second=RATES, third=RATES, lengths=st.tuples(st.integers(1, 200_000), st.integers(1, 300))
)
def test_a_source_goes_on_where_it_was_when_the_mixture_changes(first, second, third, lengths):
    changes = (0, lengths[0], lengths[0] + lengths[1])
    history = history_of(*zip(changes, (first, second, third), strict=True))
    names = sorted(first.keys() | second.keys() | third.keys())
    schedule = MixtureSchedule(history, names)
    for change in changes[1:]:
        near = np.arange(max(change - 300, 0), change + 300)
        which, numbers = schedule.lookup(near)
        before = schedule.counts(int(near[0]))
        for place, name in enumerate(names):
            mine = numbers[which == place]
            assert mine.tolist() == list(range(before[name], before[name] + len(mine)))


def test_going_back_to_an_earlier_checkpoint_forgets_what_came_after():
    shares = [shares_of(rates) for rates in ({"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 3})]
    history = MixtureHistory(phases=())
    for position, each in zip((0, 100, 200), shares, strict=True):
        history = history.changed(each, position=position)
    assert [phase.first_position for phase in history.phases] == [0, 100, 200]
    assert history.changed(shares[2], position=300) == history
    assert history.changed(shares[2], position=200) == history
    back = history.changed(shares[1], position=150)
    assert back.phases == history.phases[:2]
    assert history.changed(shares[2], position=50).phases[1] == MixturePhase(
        first_position=50, shares=shares[2]
    )
    assert history.changed(shares[1], position=0).phases == (
        MixturePhase(first_position=0, shares=shares[1]),
    )


@settings(deadline=None, max_examples=20)
@given(rates=RATES, number=st.integers(0, 10**9))
def test_the_position_of_an_example_is_found(rates, number):
    names = sorted(rates)
    schedule = MixtureSchedule(history_of((0, {names[0]: 1}), (1000, rates)), names)
    name = names[-1]
    start = schedule.counts(1000)[name]
    position = schedule.position_of(name, start + number)
    which, numbers = schedule.lookup(np.array([position]))
    assert (names[which[0]], numbers[0]) == (name, start + number)


def test_rates_by_size_are_seqios():
    """``min(n * scale, max) ** (1 / temperature)``, the example of T5's multi-task mixing."""
    by_size = MixtureDataConfig(sources=sources(None, None), temperature=2.0, scale=0.5, max_examples=900)
    assert by_size.rates({"s0": 50, "s1": 10_000}) == {"s0": 5.0, "s1": 30.0}
    assert MixtureDataConfig(sources=sources(None, None)).rates({"s0": 3, "s1": 5}) == {"s0": 3, "s1": 5}
    assert MixtureDataConfig(sources=sources(1.5, 3.0)).rates({}) == {"s0": 1.5, "s1": 3.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ()}, "names that differ"),
        ({"sources": sources(1.0) * 2}, "names that differ"),
        ({"sources": sources(1.0, 0.0)}, "must be positive; leave a source out"),
        ({"sources": sources(1.0, None)}, "give all of them, or none"),
        ({"sources": sources(1.0, 2.0), "temperature": 2.0}, "the sources have weights"),
        ({"sources": sources(None), "temperature": 0.0}, "temperature=0"),
        ({"sources": sources(None), "max_examples": 0}, "max_examples=0"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        MixtureDataConfig(**options)


def test_lengths_are_those_of_the_longest_source():
    pairs = MixtureSource(name="pairs", data=PairsDataConfig(store="p", inputs_length=20, targets_length=40))
    mixture = MixtureDataConfig(sources=(*sources(None), pairs))
    text = TEXT.lengths("encoder_decoder")
    assert mixture.lengths("encoder_decoder") == (max(text[0], 20), max(text[1], 40))
    with pytest.raises(ConfigError, match=r"source 'pairs' has pairs to classify, which cannot be mixed"):
        MixtureDataConfig(sources=(pairs,)).lengths("encoder_only")
