import functools
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import batches_from, build, fresh, make_batch

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints, SaveFailedError
from t5lite.core.errors import ConfigError
from t5lite.core.metrics import WeightedSum
from t5lite.training.bad_steps import WentBadError
from t5lite.training.config import TrainingConfig
from t5lite.training.evaluations import PeriodicEvaluation
from t5lite.training.loop import TrainingParts, train
from t5lite.training.metrics_log import read_metrics
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption, StopRequested
from t5lite.training.state import TrainState, abstract_state
from t5lite.training.telemetry import Telemetry


def run(
    tiny,
    directory: Path,
    state,
    *,
    save_every_steps=4,
    keep_steps=(),
    on_save_failure="continue",
    batches=None,
    evaluate=None,
    evaluations=(),
    stream=None,
    **config,
):
    """Train from ``state`` with everything the loop needs, in ``directory``."""
    start_step = int(state.step)
    config = TrainingConfig(**{"total_steps": 10, "batch_size": 4, "log_every_steps": 3, **config})
    if batches is None:
        batches = batches_from(start_step, tiny.partitioner)
    checkpoint_config = CheckpointConfig(
        save_every_steps=save_every_steps,
        keep_steps=keep_steps,
        keep_last=5,
        on_save_failure=on_save_failure,
    )
    if evaluate is not None:
        every = config.eval_every_steps
        evaluations = [PeriodicEvaluation(name="heldout", measure=evaluate, every_steps=every)]
    phases = Phases()
    with (
        Checkpoints(directory / "checkpoints", checkpoint_config) as checkpoints,
        Telemetry(
            directory,
            PhaseClock(phases),
            start_step=start_step,
            total_steps=config.total_steps,
            stream=stream or io.StringIO(),
        ) as telemetry,
        Preemption(phases) as preemption,
    ):
        parts = TrainingParts(
            train_step=tiny.compiled,
            batches=batches,
            telemetry=telemetry,
            preemption=preemption,
            checkpoints=checkpoints,
            metadata={"model": "tiny"},
            evaluations=evaluations,
            profile_directory=directory / "profile",
        )
        return train(state, config, parts)


def restore(tiny, directory: Path, step: int):
    abstract = abstract_state(tiny.model, tiny.optimizer, tiny.partitioner)
    with Checkpoints(directory / "checkpoints", CheckpointConfig()) as checkpoints:
        return checkpoints.restore(abstract, step)


def train_entries(directory: Path):
    """Every train entry without what depends on the clock."""
    clock = {"step_seconds", "tokens_per_second", "input_stall"}
    entries = [e for e in read_metrics(directory / "metrics.jsonl") if e["kind"] == "train"]
    return [{name: value for name, value in e.items() if name not in clock} for e in entries]


def assert_bitwise(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="module")
def straight(tiny, tmp_path_factory):
    """Ten steps without interruption."""
    directory = tmp_path_factory.mktemp("straight")
    return directory, run(tiny, directory, fresh(tiny))


@pytest.mark.parametrize("resume_at", [4, 8])
def test_resuming_is_bitwise_the_uninterrupted_run(tiny, straight, tmp_path, resume_at):
    directory, expected = straight
    run(tiny, tmp_path, fresh(tiny), total_steps=9)  # goes on past the checkpoint, as a killed run does
    resumed = run(tiny, tmp_path, restore(tiny, tmp_path, resume_at))
    assert resumed.reason == expected.reason == "finished"
    assert_bitwise(resumed.state, expected.state)
    assert train_entries(tmp_path) == train_entries(directory)


def test_every_step_is_in_one_entry_and_entries_end_at_checkpoints(straight):
    entries = train_entries(straight[0])
    assert [(e["step"], e["steps"]) for e in entries] == [(3, 3), (4, 1), (6, 2), (8, 2), (9, 1), (10, 1)]


def test_entries_are_the_metrics_of_the_steps(tiny, straight):
    state, losses = fresh(tiny), []
    for step in range(3):
        state, metrics = tiny.compiled(state, make_batch(step))
        losses.append(WeightedSum(*map(float, metrics["loss"])))
    merged = losses[0].merge(losses[1]).merge(losses[2])
    assert train_entries(straight[0])[0]["loss"] == merged.mean()


def test_metadata_and_the_final_state_are_saved(tiny, straight):
    directory, result = straight
    with Checkpoints(directory / "checkpoints", CheckpointConfig()) as checkpoints:
        assert checkpoints.latest_step() == 10
        metadata = checkpoints.metadata()
    assert (metadata["model"], metadata["step"], metadata["examples_seen"]) == ("tiny", 10, 40)
    assert_bitwise(restore(tiny, directory, 10), result.state)


def test_metrics_are_read_one_step_late(tiny, tmp_path):
    """When the batch of step n+2 is asked for, step n is recorded and step n+1 is only dispatched."""
    recorded, seen = [], []

    class Spy(Telemetry):
        def record(self, step, metrics):
            recorded.append(step)
            super().record(step, metrics)

    def watched():
        for batch in batches_from(0, tiny.partitioner):
            seen.append(list(recorded))
            yield batch

    phases = Phases()
    with (
        Spy(tmp_path, PhaseClock(phases), start_step=0, total_steps=4, stream=io.StringIO()) as telemetry,
        Preemption(phases) as preemption,
    ):
        parts = TrainingParts(
            train_step=tiny.compiled, batches=watched(), telemetry=telemetry, preemption=preemption
        )
        train(fresh(tiny), TrainingConfig(total_steps=4, batch_size=4), parts)
    assert seen == [[], [], [1], [1, 2]]
    assert recorded == [1, 2, 3, 4]


def test_evaluates_before_now_and_then_and_after(tiny, tmp_path):
    def evaluate(state):
        return {"loss": float(state.step)}

    run(tiny, tmp_path, fresh(tiny), evaluate=evaluate, eval_every_steps=4)
    run(tiny, tmp_path, restore(tiny, tmp_path, 8), evaluate=evaluate, eval_every_steps=4)
    entries = [e for e in read_metrics(tmp_path / "metrics.jsonl") if e["kind"] == "eval"]
    assert [(e["step"], e["loss"]) for e in entries] == [(0, 0), (4, 4), (8, 8), (10, 10)]


def test_what_is_due_with_an_evaluation_is_saved_before_it(tiny, tmp_path):
    """Evaluations are long, and a node that is preempted leaves seconds."""

    def evaluate(state):
        saves = tmp_path / "checkpoints"
        seen.append((int(state.step), max((int(p.name.split(".")[0]) for p in saves.iterdir()), default=0)))
        return {"loss": 1.0}

    seen = []
    run(tiny, tmp_path, fresh(tiny), evaluate=evaluate, eval_every_steps=4)
    assert seen == [(step, step) for step in (0, 4, 8, 10)]


def test_each_evaluation_has_its_interval_and_its_name_and_is_made_up_for_alone(tiny, tmp_path):
    """A stop that comes between two of them leaves what was measured, and prevents the other only."""

    def measure(name, state):
        if name == "web" and (tmp_path / "stop").exists() and int(state.step) == 6:
            raise StopRequested
        measured.append((name, int(state.step)))
        return {"loss": float(state.step)}

    measured = []
    both = [
        PeriodicEvaluation(
            name=name,
            measure=functools.partial(measure, name),
            every_steps=every,
            shown_as=f"eval/{name}",
            says_best=name == "web",
        )
        for name, every in (("books", 3), ("web", 2))
    ]
    (tmp_path / "stop").touch()
    stopped = run(tiny, tmp_path, fresh(tiny), evaluations=both)
    assert (stopped.reason, stopped.step) == ("preempted", 6)
    (tmp_path / "stop").unlink()
    run(tiny, tmp_path, restore(tiny, tmp_path, 6), evaluations=both)
    expected = {"books": [0, 3, 6, 9, 10], "web": [0, 2, 4, 6, 8, 10]}
    assert sorted(measured) == [(name, step) for name, steps in expected.items() for step in steps]
    entries = [e for e in read_metrics(tmp_path / "metrics.jsonl") if e["kind"] == "eval"]
    assert sorted((e["evaluation"], e["step"]) for e in entries) == sorted(measured)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name, steps in expected.items():
        assert [event.step for event in events.Scalars(f"eval/{name}/loss")] == steps


def evaluations(directory: Path):
    entries = [e for e in read_metrics(directory / "metrics.jsonl") if e["kind"] == "eval"]
    return [(e["step"], e["loss"]) for e in entries]


def test_an_evaluation_that_a_stop_prevented_is_made_up_for_once(tiny, tmp_path):
    def evaluate(state):
        evaluated.append(int(state.step))
        return {"loss": float(state.step)}

    def stopping(at):
        for step, batch in enumerate(batches_from(0, tiny.partitioner), start=1):
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    evaluated = []
    options = {"evaluate": evaluate, "eval_every_steps": 4}
    result = run(tiny, tmp_path, fresh(tiny), batches=stopping(4), **options)
    assert (result.reason, result.step, evaluated) == ("preempted", 4, [0])
    run(tiny, tmp_path, restore(tiny, tmp_path, 4), **options)
    assert evaluations(tmp_path) == [(0, 0), (4, 4), (8, 8), (10, 10)]
    before = (tmp_path / "metrics.jsonl").read_bytes()
    run(tiny, tmp_path, restore(tiny, tmp_path, 10), **options)
    assert evaluated == [0, 4, 8, 10]
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_stop_in_the_evaluation_before_the_first_step_has_made_none(tiny, tmp_path):
    def stopped(_):
        raise StopRequested

    entered = []
    enter = Phases.enter
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Phases, "enter", lambda self, phase: entered.append(phase) or enter(self, phase))
        result = run(tiny, tmp_path, fresh(tiny), evaluate=stopped)
    assert (result.reason, result.step) == ("preempted", 0)
    assert entered == ["evaluation", "save"]


def test_start_up_is_not_training_time(tiny, tmp_path, monkeypatch):
    hours, real = [0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 3600 * hours[0])

    def slow_to_start():
        hours[0] = 1
        yield from batches_from(0, tiny.partitioner)

    run(tiny, tmp_path, fresh(tiny), batches=slow_to_start(), total_steps=2, log_every_steps=1)
    entries = [e for e in read_metrics(tmp_path / "metrics.jsonl") if e["kind"] == "train"]
    assert entries[0]["step_seconds"] < 3000
    assert entries[0]["input_stall"] * entries[0]["step_seconds"] < 3000


def test_host_arrays_in_the_loop_are_a_mistake(tiny, tmp_path):
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        run(tiny, tmp_path, fresh(tiny), batches=iter([make_batch(0)]))


def test_a_run_that_stays_nonfinite_gives_up(tiny, tmp_path):
    start = fresh(tiny)
    params = jax.tree.map(lambda x: x * jnp.nan, start.params)
    state = TrainState(step=start.step, params=params, opt_state=start.opt_state)
    with pytest.raises(WentBadError, match=r"3 steps in a row went bad, up to step 3: .* not finite") as bad:
        run(tiny, tmp_path, state, max_nonfinite_steps=3)
    assert (bad.value.incident.first_step, bad.value.incident.last_step) == (1, 3)


@pytest.mark.parametrize(
    ("on_save_failure", "raised"), [("continue", WentBadError), ("stop", SaveFailedError)]
)
def test_a_save_that_failed_is_no_reason_not_to_go_back_unless_it_is_to_stop_the_run(
    tiny, tmp_path, monkeypatch, on_save_failure, raised
):
    """It is still under way when the numbers go bad, and is then found to have failed."""

    def batches():
        for step, batch in enumerate(batches_from(0, tiny.partitioner)):
            if step >= 2:
                batch["decoder_loss_weights"] *= jnp.nan
            yield batch

    def no_space(self):
        under_way, self._unread = self._unread, None
        if under_way is not None:
            raise SaveFailedError(self.directory, under_way[0], OSError("No space left on device"))

    monkeypatch.setattr(Checkpoints, "poll", lambda self: False)
    monkeypatch.setattr(Checkpoints, "wait", no_space)
    stream = io.StringIO()
    options = {"save_every_steps": 2, "on_save_failure": on_save_failure, "max_nonfinite_steps": 3}
    with pytest.raises(raised):
        run(tiny, tmp_path, fresh(tiny), batches=batches(), stream=stream, **options)
    said = "step 2 is not saved (No space left on device), failed saves in a row: 1"
    assert (said in stream.getvalue()) == (on_save_failure == "continue")


@pytest.mark.slow
def test_profiler_window_writes_a_trace(tmp_path):
    """In a process of its own: one in which libtpu was loaded, to compile, cannot trace without a TPU."""
    program = (
        "import sys, pathlib; from tiny_training import build, fresh; from test_loop import run; "
        "tiny = build(); run(tiny, pathlib.Path(sys.argv[1]), fresh(tiny), total_steps=4, "
        "profile_start_step=1, profile_num_steps=2)"
    )
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parents[2])])}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize(
    "wrong", [{"total_steps": 0}, {"log_every_steps": 0}, {"eval_every_steps": 0}, {"profile_start_step": 10}]
)
def test_wrong_configuration_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainingConfig(**{"total_steps": 10, "batch_size": 4, **wrong})


def test_a_signal_between_two_steps_saves_and_stops(tiny, tmp_path):
    def batches():
        for step, batch in enumerate(batches_from(0, tiny.partitioner)):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    before = signal.getsignal(signal.SIGTERM)
    result = run(tiny, tmp_path, fresh(tiny), batches=batches())
    assert (result.reason, result.step) == ("preempted", 3)
    assert_bitwise(restore(tiny, tmp_path, 3), result.state)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_ctrl_c_in_a_process_of_its_own_saves_and_says_preempted(tmp_path):
    process = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    reason, step = output.split()
    assert (reason, process.returncode) == ("preempted", 0)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()] == [step]


def endless_run(directory: Path) -> None:
    """What the test above runs: training that only a signal ends."""
    tiny = build()

    def announced():
        for step, batch in enumerate(batches_from(0, tiny.partitioner)):
            if step == 3:
                print("running", flush=True)
            yield batch

    result = run(tiny, directory, fresh(tiny), batches=announced(), total_steps=10**9, save_every_steps=10**9)
    print(result.reason, result.step)


if __name__ == "__main__":
    endless_run(Path(sys.argv[1]))
