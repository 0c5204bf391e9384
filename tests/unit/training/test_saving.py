"""When a run saves, and what becomes of saves that fail."""

import io
import resource
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import batches_from, fresh

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints, SaveFailedError
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import ConfigError
from t5lite.core.exit_codes import ExitCode
from t5lite.training.config import TrainingConfig
from t5lite.training.loop import TrainingParts, train
from t5lite.training.metrics_log import read_metrics
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption
from t5lite.training.saving import Saver, SaveTimer
from t5lite.training.telemetry import Telemetry


class Store:
    """Checkpoints whose saves end at the next poll, some of them badly."""

    def __init__(self, bad_saves: set[int] = frozenset(), **config: Any) -> None:  # pyright: ignore[reportArgumentType]
        self.config = CheckpointConfig(save_every_steps=10, **config)
        self.notes: list[str] = []
        self.started: list[int] = []
        self._bad, self._under_way = bad_saves, False

    def start(self, step: int) -> None:
        self.started.append(step)
        self._under_way = True

    def wait(self) -> bool:
        ended, self._under_way = self._under_way, False
        if ended and len(self.started) in self._bad:
            raise SaveFailedError("runs/x", self.started[-1], OSError("No space left on device"))
        return ended

    poll = wait


def saver_of(store: Store, said: list[str], **options: Any) -> Saver:
    return Saver(store, said.append, **options)  # pyright: ignore[reportArgumentType]


def run_steps(saver: Saver, store: Store, steps: range) -> None:
    for step in steps:
        if saver.is_due(step):
            saver.save(lambda step=step: store.start(step))


def test_a_failed_save_is_tried_again_at_once_a_few_times_and_then_on_schedule():
    store, said = Store({2, 3, 4}), []
    run_steps(saver_of(store, said), store, range(1, 41))
    assert store.started == [10, 20, 21, 22, 30, 40]
    assert [line.partition(";")[0] for line in said] == [
        f"step {step} is not saved (No space left on device), failed saves in a row: {count}"
        for count, step in enumerate((20, 21, 22), start=1)
    ] + ["saved again"]
    assert [line.rpartition("again ")[2] for line in said[:3]] == [
        "after the next step",
        "after the next step",
        "when the next save is due",
    ]


def test_a_step_to_keep_that_is_not_saved_is_said_once():
    store, said = Store({1}, keep_steps=(15, 17)), []
    saver = saver_of(store, said)
    run_steps(saver, store, range(11, 17))
    saver.put_off(17)  # of a bad step
    saver.put_off(18)
    assert store.started == [15, 16]
    told = [line for line in said if "keep_steps" in line]
    assert [line.partition(" is ")[0] for line in told] == ["step 15", "step 17"]
    assert all("the next save is of a later step" in line for line in told)


def test_a_run_that_is_to_stop_does_so_at_the_step_after_the_failure():
    store = Store({2}, on_save_failure="stop")
    saver = saver_of(store, [])
    with pytest.raises(SaveFailedError, match="step 20 could not be saved"):
        run_steps(saver, store, range(1, 22))
    assert store.started == [10, 20]


@pytest.mark.fault("the last save of a run fails three times", "ends; the earlier checkpoints stay", 75)
@pytest.mark.parametrize("bad", [{1}, {1, 2}, {1, 2, 3}])
def test_the_last_save_is_tried_again_and_then_ends_the_run_for_a_restart(bad):
    store, said, waited, failures = Store(bad), [], [], []
    saver = saver_of(store, said, pause=waited.append, failed=lambda: failures.append(1))
    if len(bad) == 3:
        with pytest.raises(SaveFailedError) as raised:
            saver.finish(lambda: store.start(7))
        assert raised.value.exit_code == ExitCode.TRANSIENT
    else:
        saver.finish(lambda: store.start(7))
    assert len(store.started) == min(len(bad) + 1, 3)
    assert waited == [1, 2][: len(bad)]
    assert len(failures) == len(bad)


def test_what_is_noted_at_the_last_save_is_said_too():
    store, said = Store(), []

    def save() -> None:
        store.start(7)
        store.notes.append("older checkpoints cannot be removed")

    saver_of(store, said).finish(save)
    assert said == ["older checkpoints cannot be removed"]


@given(st.lists(st.floats(0.01, 50), min_size=200, max_size=200), st.floats(10, 1000))
def test_a_timer_is_never_early_and_asks_seldom_where_steps_take_as_long_as_each_other(durations, seconds):
    now, last, due = 0.0, 0.0, []
    timer = SaveTimer(seconds, lambda: now)
    for step, duration in enumerate(durations, start=1):
        now += duration
        if timer.is_due(step):
            assert now - last >= seconds
            last = now
            timer.restart()
            due.append(step)
    assert due or sum(durations) < 2 * seconds + 100 * max(durations)


def test_a_timer_of_a_steady_run_is_late_by_a_step_at_most_and_asks_a_few_times_a_save():
    asked = []

    def clock() -> float:
        asked.append(now)
        return now

    now, last = 0.0, 0.0
    timer = SaveTimer(600, clock)
    for step in range(1, 10_001):
        now = step * 0.5
        if timer.is_due(step):
            assert 600 <= now - last <= 601
            last = now
            timer.restart()
    assert last >= 4800
    assert len(asked) < 8 * 20


def test_saves_by_time_count_from_the_last_save():
    now = 0.0
    store = Store(save_every_minutes=1.0)
    saver = saver_of(store, [], clock=lambda: now)
    for step in range(1, 31):
        now += 8.5
        if saver.is_due(step):
            saver.save(lambda step=step: store.start(step))
    assert store.started == [8, 10, 18, 20, 28, 30]


@pytest.mark.parametrize("wrong", [{"save_every_minutes": 0.0}, {"keep_best": -1}])
def test_wrong_configuration_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CheckpointConfig(**wrong)


@pytest.mark.slow
@pytest.mark.fault(
    "a save in the background fails (disk full, read-only)",
    "said at the next step, tried again, earlier checkpoints stay; "
    '`checkpoints.on_save_failure="stop"` ends the run',
    "0; 75",
)
@pytest.mark.fault(
    "`metrics.jsonl` or the TensorBoard events cannot be written (disk full)",
    "said once; up to 4 MiB are kept in memory and written when there is space again; "
    '`checkpoints.on_save_failure="stop"` ends the run',
    "0; 75",
)
def test_training_goes_on_while_the_disk_is_full_and_saves_when_it_is_not(tiny, tmp_path, caplog):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def batches():
        for step, batch in enumerate(batches_from(0, tiny.partitioner)):
            if step == 3:  # from here on, files of more than 400 bytes are refused, also metrics.jsonl
                checkpoints.wait()
                resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
            if step == 8:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            yield batch

    stream = io.StringIO()
    config = CheckpointConfig(save_every_steps=2, keep_last=10)
    phases = Phases()
    try:
        with (
            Checkpoints(tmp_path / "checkpoints", config) as checkpoints,
            Telemetry(tmp_path, PhaseClock(phases), start_step=0, total_steps=12, stream=stream) as telemetry,
            Preemption(phases) as preemption,
        ):
            parts = TrainingParts(
                train_step=tiny.compiled,
                batches=batches(),
                telemetry=telemetry,
                preemption=preemption,
                checkpoints=checkpoints,
            )
            training = TrainingConfig(total_steps=12, batch_size=4, log_every_steps=1)
            result = train(fresh(tiny), training, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.reason, result.step) == ("finished", 12)
    saved = available_steps(tmp_path / "checkpoints")
    assert {2, 10, 12} <= set(saved)
    assert 4 not in saved
    assert "step 4 is not saved (" in stream.getvalue()
    assert "saved again; failed saves before that: " in stream.getvalue()
    assert not list((tmp_path / "checkpoints").glob("*tmp*"))
    entries = [entry for entry in read_metrics(tmp_path / "metrics.jsonl") if entry["kind"] == "train"]
    assert [entry["step"] for entry in entries] == list(range(1, 13))
    assert caplog.text.count("metrics.jsonl cannot be written (File too large)") == 1
    assert "metrics.jsonl is written again; 0 records of it are lost" in caplog.text


def test_a_store_says_what_it_has_to():
    store, said = Store(), []
    store.notes.append("older checkpoints cannot be removed")
    saver_of(store, said).is_due(1)
    assert (said, store.notes) == (["older checkpoints cannot be removed"], [])
