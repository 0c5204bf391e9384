"""A signal to one of several processes: how long it may take to reach the step at which all of them save."""

import signal
from types import SimpleNamespace

import pytest

from t5lite.training import preemption
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption


def test_only_a_wait_for_data_that_lasts_ends_one_of_several_processes(monkeypatch):
    """Processes step on until the place that none has passed; each step begins with a short wait for data."""
    now, ended = [100.0], []
    monkeypatch.setattr(preemption, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(preemption, "end_now", ended.append)
    process = Preemption(Phases())
    process._tell_jax = lambda number: None
    process._enter_phase("step", 99.0)
    process._enter_phase("input", 100.0)
    process._end_if_nothing_can_be_lost(seconds=60.0)
    assert ended == []
    now[0] = 104.0
    process._end_if_nothing_can_be_lost(seconds=64.0)
    assert ended == [143]


@pytest.mark.parametrize("phase", ["step", "save", "restore"])
def test_nothing_ends_a_process_that_may_lose_something(monkeypatch, phase):
    monkeypatch.setattr(preemption, "end_now", lambda code: pytest.fail("ended"))
    process = Preemption(Phases())
    process._enter_phase("step", 0.0)
    process._enter_phase(None, 0.5)
    process._enter_phase(phase, 1.0)
    process._end_if_nothing_can_be_lost(seconds=60.0)


def test_a_signal_before_the_first_step_ends_the_process_though_that_step_is_done_just_then(monkeypatch):
    """Else nobody would tell the other processes, nor end this one."""
    ended = []
    monkeypatch.setattr(preemption, "end_now", ended.append)
    process = Preemption(Phases())
    process._take(signal.SIGTERM)
    process._stepped = True
    assert ended == [143]
