"""Where the time of a run went, from what its attempts say."""

import itertools
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.training.attempts import Attempt, End, PhaseSeconds
from t5lite.training.goodput import goodput, lost_steps, reached_steps

_FINITE = st.floats(0, 1e6)
_PHASES = ("startup", "restore", "compile", "input", "step", "save", "evaluation", "other")


def attempt(number=1, *, started=0.0, first=0, last=0, steps=None, found=0, waited=0.0, end=None, **seconds):
    return Attempt(
        number=number,
        host="host",
        pid=1,
        job=None,
        num_processes=1,
        num_devices=1,
        started=started,
        seconds=PhaseSeconds(**seconds),
        waited_seconds=waited,
        first_step=first,
        last_step=last,
        num_steps=last - first if steps is None else steps,
        found_step=found,
        end=end,
    )


def test_an_attempt_alone():
    result = goodput([attempt(last=10, startup=5.0, compile=10.0, input=1.0, step=30.0, save=4.0)])
    assert result.share == pytest.approx(0.6)
    assert {cause: lost for cause, lost in result.lost_seconds.items() if lost} == {
        "startup": 5.0,
        "compile": 10.0,
        "input": 1.0,
        "save": 4.0,
    }
    assert (result.useful_steps, result.repeated_steps) == (10, 0)


def test_steps_after_the_checkpoint_that_the_next_attempt_went_on_from_are_lost():
    first = attempt(1, last=100, step=100.0)
    second = attempt(2, started=130.0, first=80, last=150, found=105, step=70.0)
    result = goodput([first, second])
    assert result.useful_seconds == pytest.approx(80 + 70)
    assert result.lost_seconds["repeated"] == pytest.approx(20)
    assert result.lost_seconds["down"] == pytest.approx(30)
    assert (result.useful_steps, result.repeated_steps) == (150, 25)  # of 5, the metrics file alone told
    assert lost_steps(first, second) == 25
    assert reached_steps([first, second]) == [105, 150]


def test_an_attempt_that_went_back_further_undoes_earlier_ones():
    history = [
        attempt(1, last=100, step=100.0),
        attempt(2, started=100.0, first=100, last=200, step=100.0),
        attempt(3, started=200.0, first=50, last=60, step=10.0),
    ]
    result = goodput(history)
    assert result.useful_seconds == pytest.approx(50 + 0 + 10)
    assert (result.useful_steps, result.repeated_steps) == (60, 150)


def test_steps_that_an_attempt_did_again_by_itself_count_once():
    result = goodput([attempt(last=30, steps=50, step=50.0)])
    assert result.useful_seconds == pytest.approx(30)
    assert result.repeated_steps == 20


def test_time_for_a_lease_is_waiting_and_no_startup():
    result = goodput([attempt(startup=30.0, waited=20.0)])
    assert (result.lost_seconds["waiting"], result.lost_seconds["startup"]) == (20.0, 10.0)
    assert result.share == 0


def test_clocks_that_contradict_each_other_count_as_no_time():
    """A second host whose clock is an hour behind: the second attempt began before the first ended."""
    history = [attempt(1, started=3600.0, last=10, step=10.0), attempt(2, first=10, last=20, step=10.0)]
    result = goodput(history)
    assert result.lost_seconds["down"] == 0
    assert (result.total_seconds, result.share) == (20.0, 1.0)


def test_no_attempt_and_no_time():
    assert goodput([]).share == 0
    assert goodput([attempt()]).total_seconds == 0


@st.composite
def histories(draw) -> list[Attempt]:
    history = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        first, net, again = (draw(st.integers(0, 100)) for _ in range(3))
        history.append(
            attempt(
                number,
                started=draw(st.floats(-1e6, 1e6)),
                first=first,
                last=first + net,
                steps=net + again,
                found=draw(st.integers(0, 300)),
                waited=draw(_FINITE),
                end=draw(st.none() | st.just(End(reason="finished", exit_code=0))),
                **{phase: draw(_FINITE) for phase in _PHASES},
            )
        )
    return history


@given(histories())
def test_nothing_is_negative_and_everything_is_somewhere(history):
    result = goodput(history)
    assert 0 <= result.share <= 1
    assert all(lost >= 0 for lost in result.lost_seconds.values())
    spent = sum(sum(asdict(each.seconds).values()) for each in history)
    waited = sum(min(each.waited_seconds, each.seconds.startup) for each in history[1:])
    assert result.total_seconds >= spent - waited - 1e-9 * spent  # of two that overlap, one counts
    unseen = sum(reached_steps(history)) - sum(each.last_step for each in history)
    assert result.useful_steps + result.repeated_steps == sum(each.num_steps for each in history) + unseen
    assert min(result.useful_steps, result.repeated_steps) >= 0
    assert all(lost_steps(before, after) >= 0 for before, after in itertools.pairwise(history))


@st.composite
def lives(draw) -> tuple[list[Attempt], float]:
    """Attempts, one after the other by one clock; each may have waited for the one before to end."""
    history, now = [], draw(st.floats(0, 1e6))
    for number in range(1, draw(st.integers(1, 5)) + 1):
        seconds = {phase: draw(st.floats(0, 1e4)) for phase in _PHASES}
        waited = draw(st.floats(0, 1e4)) if history else 0.0
        started = now - waited * draw(st.sampled_from([0.0, 0.5, 1.0]))
        seconds["startup"] += waited
        steps = draw(st.integers(0, 50))
        history.append(attempt(number, started=started, last=steps, waited=waited, **seconds))
        now = history[-1].seen + draw(st.sampled_from([0.0, 1.0, 1e5]))
    return history, now


@given(lives())
def test_the_accounts_are_the_time_since_the_first_start(life):
    history, now = life
    result = goodput(history, until=now)
    assert result.total_seconds == pytest.approx(now - history[0].started, rel=1e-9, abs=1e-6)
    assert all(lost >= 0 for lost in result.lost_seconds.values())
    # A look before the next start says what one after it says.
    step = history[-1].last_step
    again = goodput([*history, attempt(len(history) + 1, started=now, first=step, last=step)])
    assert again.lost_seconds["down"] == pytest.approx(result.lost_seconds["down"], rel=1e-9, abs=1e-6)
