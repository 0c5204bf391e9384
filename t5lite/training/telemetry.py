"""What the loop measures, averaged over the steps since the last entry, and where it is shown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import jax
import numpy as np

from t5lite.core.errors import TransientError
from t5lite.core.metrics import WeightedSum
from t5lite.core.storage.addresses import StoragePath
from t5lite.partitioning.multihost import as_the_leader_says, is_leader
from t5lite.training.hardware import Peak, device_peak
from t5lite.training.incidents import IncidentKind
from t5lite.training.ledger import Ledger
from t5lite.training.metrics_log import MetricsLog
from t5lite.training.phase_clock import PhaseClock, TimedPhase
from t5lite.training.progress import ProgressLine
from t5lite.training.trackers.reporting import Trackers

_TRAINING: tuple[TimedPhase, ...] = ("input", "step", "other")
_COUNTS = ("tokens", "nonfinite")
_SHORTEST_SECONDS = 1e-3
"""Of less time no rate is reported: it would tell of the clock and not of the training."""


class Telemetry:
    """Metrics file, TensorBoard events and progress line of one run; only the leader process writes.

    Throughput and MFU are taken over the time spent training by the clock of the process: in steps, waiting
    for batches, and between the phases (the next step runs while an entry is written). What comes before
    ``start_clock``, evaluation, checkpoints and whatever a rollback does are left out. ``input_stall`` is the
    part of that time the loop waited for a batch.

    Args:
      directory: the run directory.
      clock: of the process; its phases say what is training.
      start_step: steps done when this attempt starts.
      total_steps: where the run ends.
      earlier: entries of the metrics file that the run begins with, for it goes on from another; None leaves
        what is there.
      step_flops: model FLOPs of one step over the global batch (``models.flops``); None leaves MFU out.
      examples_seen: of a step, the examples that the run had seen when it was done.
      ledger: of the leader; counts the steps and incidents, and tells the goodput of the run.
      trackers: of the leader; are handed what is written.
      stream: of the progress line; standard error by default.
      before_write: is called before anything is added to the files; what it raises is raised.
      keeps: whether what the disk does not take is kept and written later; else that is an error.
    """

    def __init__(
        self,
        directory: StoragePath,
        clock: PhaseClock,
        *,
        start_step: int,
        total_steps: int,
        earlier: Sequence[Mapping[str, Any]] | None = None,
        step_flops: float | None = None,
        examples_seen: Callable[[int], int] | None = None,
        ledger: Ledger | None = None,
        trackers: Trackers | None = None,
        stream: TextIO | None = None,
        before_write: Callable[[], None] = lambda: None,
        keeps: bool = True,
    ) -> None:
        self._before_write = before_write
        self._leader = is_leader()
        self._log = (
            MetricsLog(directory, start_step=start_step, earlier=earlier, keeps=keeps)
            if self._leader
            else None
        )
        self._progress = (
            ProgressLine(start_step=start_step, total_steps=total_steps, stream=stream)
            if self._leader
            else None
        )
        self._ledger, self._trackers = ledger, trackers
        self._step_flops, self._examples_seen = step_flops, examples_seen
        self._peak: Peak | None = _local_peak() if step_flops and self._leader else None
        self._clock = clock
        self._window = _Window(self._time())

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            self.close()
        except (TransientError, OSError) as error:
            if kind is None:
                raise
            # What went wrong first tells whether to start again.
            self.message(str(error))

    def start_clock(self) -> None:
        """Begin to measure time here: the loop is about to do its first step."""
        self._window = _Window(self._time())
        if self._progress:
            self._progress.restart_clock()

    def record(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of one step (host values) to the entry under way; ``step`` counts it as done."""
        self._window.add(step, metrics)
        if self._ledger:
            self._ledger.reached(step)
        if self._progress:
            self._progress.advance(step)

    def write_entry(self) -> None:
        """Write the entry under way, if a step was recorded since the last one, and start the next."""
        if not self._window.num_steps:
            return
        now = self._time()
        step, values = self._window.step, self._window.summary(now)
        seconds = self._window.seconds(now)
        if self._peak and self._step_flops and seconds >= _SHORTEST_SECONDS:
            capacity = self._peak.flops_per_second * jax.device_count() * seconds
            values["mfu"] = self._step_flops * self._window.num_steps / capacity
        if self._ledger:
            values |= {"goodput": self._ledger.goodput(), **self._ledger.incidents()}
        self._window = _Window(now)
        if self._log and self._progress:
            self._write(self._log, "train", step, values)
            shown = {"loss": "loss", "tokens_per_second": "tok/s", "mfu": "MFU", "input_stall": "stall"}
            self._progress.show(step, {shown[name]: values[name] for name in shown if name in values})

    def met(self, what: IncidentKind, count: int = 1) -> None:
        """Count what did not end the run."""
        if self._ledger:
            self._ledger.met(what, count)

    def flush(self) -> None:
        """Put what was written where a kill does not lose it."""
        if self._log:
            self._before_write()
            self._log.flush()

    def write_evaluation(
        self, step: int, name: str, values: Mapping[str, float], *, shown_as: str = "eval"
    ) -> None:
        """Write the result of an evaluation after ``step`` steps.

        Args:
          step: steps done.
          name: of the evaluation.
          values: its metrics.
          shown_as: what their names begin with in TensorBoard and trackers.
        """
        if self._log and self._progress:
            self._write(self._log, "eval", step, {"evaluation": name, **values}, shown_as=shown_as)
            listed = ", ".join(f"{metric} {value:.4f}" for metric, value in values.items())
            _, _, which = shown_as.partition("/")
            self._progress.message(f"step {step}{which and f', {which}'}: {listed}")

    def has_evaluation(self, step: int, name: str) -> bool:
        """Whether an evaluation after ``step`` steps was written, by this attempt or an earlier one.

        All processes must ask, and get the same answer.
        """
        return as_the_leader_says(self._log is not None and self._log.has_evaluation(step, name))

    def write_compilation(self, step: int, seconds: float) -> None:
        """Write how long compiling the step took, and what MFU is relative to."""
        if self._log and self._progress:
            values: dict[str, Any] = {"compile_seconds": seconds, "devices": jax.device_count()}
            if self._peak:
                values["peak_flops_per_second"], values["peak_source"] = self._peak
            self._write(self._log, "start", step, values)
            self._progress.message(f"compiled the train step in {seconds:.1f} s")

    def message(self, text: str) -> None:
        """Show one line, on the leader only."""
        if self._progress:
            self._progress.message(text)

    def close(self) -> None:
        """Close files and progress line; an entry under way is written first, unless that may not be."""
        if not (self._log and self._progress):
            return
        try:
            self.write_entry()
            self._before_write()
        except BaseException:
            self._log.abandon()
            raise
        else:
            self._log.close()
        finally:
            self._progress.close()

    def _write(
        self, log: MetricsLog, kind: str, step: int, values: Mapping[str, Any], *, shown_as: str | None = None
    ) -> None:
        self._before_write()
        if self._examples_seen:
            values = {"examples_seen": self._examples_seen(step), **values}
        log.write(kind, step, values, shown_as=shown_as)
        if self._trackers:
            self._trackers.log(shown_as or kind, step, values)

    def _time(self) -> "_Time":
        seconds = self._clock.seconds()
        return _Time(sum(seconds.get(phase, 0.0) for phase in _TRAINING), seconds.get("input", 0.0))


class _Time(NamedTuple):
    """Seconds of the process up to now."""

    training: float
    input: float
    """Of these, waiting for batches."""


def _local_peak() -> Peak | None:
    device = jax.local_devices()[0]
    return device_peak(device.platform, device.device_kind)


class _Window:
    """The steps since the last entry: pairs are merged in float64, counts summed, other metrics averaged.

    A step whose update was not finite counts as such and leaves the other metrics alone.
    """

    def __init__(self, start: _Time) -> None:
        self.step = self.num_steps = self.num_finite_steps = 0
        self._start = start
        self._pairs: dict[str, np.ndarray] = {}
        self._scalars: dict[str, float] = {}

    def seconds(self, now: _Time) -> float:
        return max(now.training - self._start.training, 1e-9)

    def add(self, step: int, metrics: Mapping[str, Any]) -> None:
        self.step, self.num_steps = step, self.num_steps + 1
        nonfinite = bool(metrics.get("nonfinite", 0))
        self.num_finite_steps += not nonfinite
        for name, value in metrics.items():
            if nonfinite and name not in _COUNTS:
                continue
            if isinstance(value, WeightedSum):
                pair = np.array([value.total, value.weight], np.float64)
                self._pairs[name] = self._pairs.get(name, 0.0) + pair
            else:
                self._scalars[name] = self._scalars.get(name, 0.0) + float(value)

    def summary(self, now: _Time) -> dict[str, float]:
        seconds = self.seconds(now)
        values = {name: float(WeightedSum(*map(float, pair)).mean()) for name, pair in self._pairs.items()}
        for name, total in self._scalars.items():
            values[name] = int(total) if name in _COUNTS else total / self.num_finite_steps
        values["steps"] = self.num_steps
        values["step_seconds"] = seconds / self.num_steps
        if "tokens" in values and seconds >= _SHORTEST_SECONDS:
            values["tokens_per_second"] = values["tokens"] / seconds
        values["input_stall"] = (now.input - self._start.input) / seconds
        return values
