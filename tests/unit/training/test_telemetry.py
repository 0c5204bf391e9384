import io
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t5lite.core.errors import DataError
from t5lite.core.metrics import WeightedSum
from t5lite.training import hardware, phases, telemetry
from t5lite.training.metrics_log import MetricsLog, read_metrics
from t5lite.training.phase_clock import PhaseClock
from t5lite.training.phases import Phases
from t5lite.training.progress import ProgressLine
from t5lite.training.telemetry import Telemetry


def telemetry_of(directory, clock=None, **options):
    options = {"start_step": 0, "total_steps": 9, "stream": io.StringIO(), **options}
    return Telemetry(directory, clock or PhaseClock(Phases()), **options)


def metrics(loss: float, weight: float, *, nonfinite: float = 0.0) -> dict:
    return {
        "loss": WeightedSum(np.float32(loss * weight), np.float32(weight)),
        "grad_norm": np.float32(loss),
        "tokens": np.int32(10),
        "nonfinite": np.float32(nonfinite),
    }


def test_an_entry_merges_pairs_averages_scalars_and_sums_counts(tmp_path):
    with telemetry_of(tmp_path) as log:
        log.record(1, metrics(1.0, 3))
        log.record(2, metrics(5.0, 1))
        log.record(3, metrics(math.nan, 7, nonfinite=1.0))
        log.write_entry()
        log.write_entry()
        log.record(4, metrics(8.0, 2))
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert first["kind"] == "train"
    assert (first["step"], first["steps"], first["tokens"], first["nonfinite"]) == (3, 3, 30, 1)
    assert first["loss"] == pytest.approx(2.0)
    assert first["grad_norm"] == pytest.approx(3.0)
    assert (second["step"], second["loss"]) == (4, 8.0)


PEAK = 1e3


class FakeTime:
    """Passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(phases.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(telemetry, "_local_peak", lambda: hardware.Peak(PEAK, "test"))
        monkeypatch.setattr(telemetry.jax, "device_count", lambda: 2)
        self.phases = Phases()
        self.clock = PhaseClock(self.phases)

    def telemetry(self, directory, **options):
        log = telemetry_of(directory, self.clock, step_flops=2000.0, **options)
        with self.phases.enter("input"):  # as the loop does before it compiles
            pass
        log.start_clock()
        return log

    def spend(self, phase, seconds):
        with self.phases.enter(phase):
            self.now += seconds


def test_throughput_leaves_out_pauses_and_counts_waiting(tmp_path, monkeypatch):
    time = FakeTime(monkeypatch)
    time.now += 500
    log = time.telemetry(tmp_path)
    time.spend("save", 50)
    time.spend("input", 1)
    time.spend("step", 2)
    time.now += 1
    log.record(1, metrics(1.0, 1))
    log.close()
    (entry,) = read_metrics(tmp_path / "metrics.jsonl")
    assert entry["step_seconds"] == pytest.approx(4.0)
    assert entry["tokens_per_second"] == pytest.approx(2.5)
    assert entry["input_stall"] == pytest.approx(0.25)
    assert entry["mfu"] == pytest.approx(2000 / (PEAK * 2 * 4))


def test_the_time_that_an_entry_takes_to_be_written_belongs_to_the_next_one(tmp_path, monkeypatch):
    """The step after it runs meanwhile: a last step that was over by then had an MFU of 3."""
    time = FakeTime(monkeypatch)
    log = time.telemetry(tmp_path)
    write = MetricsLog.write

    def slowly(*arguments, **options):
        time.now += 5
        write(*arguments, **options)

    monkeypatch.setattr(MetricsLog, "write", slowly)
    for step in (1, 2):
        time.now += 1
        log.record(step, metrics(1.0, 1))
        log.write_entry()
    log.close()
    first, second = read_metrics(tmp_path / "metrics.jsonl")
    assert (first["step_seconds"], second["step_seconds"]) == (1.0, 6.0)


@pytest.mark.parametrize(("seconds", "reported"), [(1e-4, False), (1e-2, True)])
def test_no_rate_is_reported_of_hardly_any_time(tmp_path, monkeypatch, seconds, reported):
    time = FakeTime(monkeypatch)
    log = time.telemetry(tmp_path)
    time.now += seconds
    log.record(1, metrics(1.0, 1))
    log.close()
    (entry,) = read_metrics(tmp_path / "metrics.jsonl")
    assert ("mfu" in entry, "tokens_per_second" in entry) == (reported, reported)
    assert entry["step_seconds"] == pytest.approx(seconds)


_ACTS = st.sampled_from(["input", "step", "save", "evaluation", "restore", "startup", None])


@given(
    stretches=st.lists(
        st.lists(st.tuples(_ACTS, st.floats(0.01, 100), st.booleans()), min_size=1), min_size=1, max_size=3
    )
)
@settings(max_examples=30, deadline=None)
def test_all_the_time_of_training_is_in_one_entry_and_no_other_time_in_any(stretches):
    """Also after a rollback, whose steps another telemetry of the same process goes on with."""
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as directory:
        time = FakeTime(monkeypatch)
        step = 0
        for stretch in stretches:
            before = time.clock.seconds()
            start, first = step, len(read_metrics(Path(directory) / "metrics.jsonl")) if step else 0
            log = time.telemetry(Path(directory), start_step=step)
            for phase, seconds, writes in stretch:
                if phase is None:
                    time.now += seconds
                else:
                    time.spend(phase, seconds)
                step += 1
                log.record(step, metrics(1.0, 1))
                if writes:
                    log.write_entry()
            log.close()
            entries = read_metrics(Path(directory) / "metrics.jsonl")[first:]
            spent = {name: total - before.get(name, 0.0) for name, total in time.clock.seconds().items()}
            training = sum(spent.get(name, 0.0) for name in ("input", "step", "other"))
            assert sum(e["steps"] for e in entries) == step - start
            # 1 ns stands for no time.
            near = {"rel": 1e-6, "abs": 1e-6}
            assert sum(e["step_seconds"] * e["steps"] for e in entries) == pytest.approx(training, **near)
            stalled = sum(e["input_stall"] * e["step_seconds"] * e["steps"] for e in entries)
            assert stalled == pytest.approx(spent.get("input", 0.0), **near)
            for entry in entries:
                if "mfu" in entry:
                    assert entry["mfu"] == pytest.approx(2000 / (PEAK * 2 * entry["step_seconds"]))
            time.spend("save", 1000.0)  # what a rollback does


def test_entries_say_how_many_examples_were_seen(tmp_path):
    with telemetry_of(tmp_path, examples_seen=lambda step: 100 + 8 * step) as log:
        log.write_evaluation(0, "heldout", {"loss": 1.0})
        log.record(1, metrics(1.0, 1))
    assert [entry["examples_seen"] for entry in read_metrics(tmp_path / "metrics.jsonl")] == [100, 108]


def test_resuming_drops_later_lines_and_starting_anew_drops_all(tmp_path):
    path = tmp_path / "metrics.jsonl"

    def attempt(start_step, steps):
        log = MetricsLog(tmp_path, start_step=start_step)
        for step in steps:
            log.write("train", step, {"loss": 1.0 + start_step})
        log.close()

    attempt(0, [0, 2, 4, 6])
    attempt(4, [6, 8])
    assert [(e["step"], e["loss"]) for e in read_metrics(path)] == [(0, 1), (2, 1), (4, 1), (6, 5), (8, 5)]
    with path.open("a") as stream:
        stream.write('{"kind": "train", "st')  # killed while writing
    attempt(8, [10])
    assert [e["step"] for e in read_metrics(path)] == [0, 2, 4, 6, 8, 10]
    attempt(0, [2])
    assert [e["step"] for e in read_metrics(path)] == [2]


def test_lines_are_strict_json_and_readable_before_close(tmp_path):
    log = MetricsLog(tmp_path, start_step=0)
    log.write("train", 1, {"loss": math.nan, "source": "añ"})
    (line,) = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {"kind": "train", "step": 1, "loss": None, "source": "añ"}
    log.close()


@pytest.mark.fault(
    "a line before the last of `metrics.jsonl` is damaged", "refused with its number, before training", 2
)
@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b'{"st', r"line 2 is not an entry \(.*\); move the file away"),
        (b"[]", r"line 2 is not an entry \(not an object with a kind\)"),
        (b"1e999", r"line 2 is not an entry"),
        (b'{"kind": "eval"}', r"line 2 is not an entry \(not an object with a step\)"),
        (b'{"kind": "eval", "step": "3"}', r"line 2 is not an entry"),
        (b"[" * 100_000, r"line 2 is not an entry"),
        (b"\xff\xfe", r"line 2 is not an entry \(.*\); move the file away"),
    ],
)
def test_a_damaged_line_is_named_and_no_matter_where_all_are_dropped(tmp_path, damaged, message):
    file, line = tmp_path / "metrics.jsonl", b'{"kind": "train", "step": 1}\n'
    file.write_bytes(line + damaged + b"\n" + line)
    with pytest.raises(DataError, match=message):
        MetricsLog(tmp_path, start_step=3)
    MetricsLog(tmp_path, start_step=0).close()
    assert file.read_bytes() == b""


@pytest.mark.fault(
    "the last line of `metrics.jsonl` is half-written or damaged",
    "said with its size and dropped, the run goes on",
    0,
)
@pytest.mark.parametrize(
    "tail", [b'{"kind": "tr', b"\0" * 300, b"\xff\xfe", b"[]\n", b'{"kind": "eval"}\n\n']
)
def test_a_last_line_that_is_no_entry_is_said_and_dropped(tmp_path, caplog, tail):
    file, line = tmp_path / "metrics.jsonl", b'{"kind": "train", "step": 1}\n'
    file.write_bytes(2 * line + tail)
    assert len(read_metrics(file)) == 2
    assert not caplog.records
    MetricsLog(tmp_path, start_step=3).close()
    assert file.read_bytes() == 2 * line
    (record,) = caplog.records
    said = f"its last line was half written ({len(tail.strip())} bytes): dropped"
    assert said in record.getMessage()


def test_tensorboard_gets_the_same_values(tmp_path):
    log = MetricsLog(tmp_path, start_step=0)
    log.write("eval", 5, {"evaluation": "heldout", "loss": 2.5})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("eval/loss")] == [(5, 2.5)]


def test_off_a_terminal_a_line_now_and_then_and_at_the_end(monkeypatch):
    clock, stream = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    line = ProgressLine(start_step=10, total_steps=40, stream=stream)
    for step in range(11, 41):
        clock[0] += 2.0
        line.advance(step)
        line.show(step, {"loss": 2.34567, "tok/s": 12345.0})
    line.close()
    printed = stream.getvalue().splitlines()
    assert printed[0] == "train 11/40 | loss 2.346, tok/s 12.3k | ETA 00:58"
    assert printed[-1].startswith("train 40/40 |")
    assert 4 <= len(printed) <= 6


def test_start_up_is_left_out_of_the_time_left(monkeypatch):
    clock, stream = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    line = ProgressLine(start_step=10, total_steps=40, stream=stream)
    clock[0] += 600.0
    line.restart_clock()
    clock[0] += 2.0
    line.show(11, {"loss": 2.5})
    assert stream.getvalue() == "train 11/40 | loss 2.5 | ETA 00:58\n"


def test_on_a_terminal_a_bar_with_the_figures():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    line = ProgressLine(start_step=10, total_steps=40, stream=stream)
    line.advance(20)
    line.show(20, {"loss": 2.5})
    line.message("step 20: evaluated")
    line.close()
    assert "20/40" in stream.getvalue()
    assert "loss 2.5" in stream.getvalue()
    assert "step 20: evaluated\n" in stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "tflops"),
    [("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5p", 459), ("TPU v5", 459), ("TPU v6 lite", 918),
     ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756),
     ("NVIDIA L40S", 362), ("Something new", None)],
)  # fmt: skip
def test_peaks_by_device_kind(kind, tflops):
    peak = hardware.device_peak("accelerator", kind)
    assert peak is None if tflops is None else peak.flops_per_second == tflops * 1e12


def test_a_cpu_peak_is_measured_and_said_to_be():
    peak = hardware.device_peak("cpu", "cpu")
    assert "measured" in peak.source
    assert 1e8 < peak.flops_per_second < 1e14
