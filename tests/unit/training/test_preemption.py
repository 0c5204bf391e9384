"""Signals to a process whose main thread is in native code, where no handler of Python's runs."""

import os
import signal
import subprocess
import sys

import pytest

IN_NATIVE_CODE = """
import ctypes, signal, sys
from t5lite.training.phases import Phases
from t5lite.training.preemption import Preemption

phase, num_steps, saved, ignored = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "saved", sys.argv[4:]
signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
phases = Phases()
with Preemption(phases) as preemption:
    preemption.saved = lambda: saved
    for _ in range(num_steps):
        with phases.enter("step"):
            pass
    with phases.enter(phase):
        print("ready", flush=True)
        lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(256)
        lock(mutex)
        lock(mutex)  # for ever, and no signal interrupts it
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", IN_NATIVE_CODE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def told(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return "".join(iter(process.stderr.readline, ""))


@pytest.mark.fault(
    "a signal before the first step (start-up, restore, compilation)",
    "the process ends at once; nothing is lost",
    "128 + signal",
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_before_the_first_step_there_is_nothing_to_wait_for(number):
    with start("compile", "0", "unsaved") as process:
        process.send_signal(number)
        assert told(process) == f"\n{number.name}: stopped before the first step; nothing is lost\n"
    assert process.returncode == 128 + number


@pytest.mark.slow
def test_an_evaluation_that_does_not_answer_is_left_once_all_steps_are_saved():
    with start("evaluation", "2", "saved") as process:
        process.send_signal(signal.SIGTERM)
        assert told(process).endswith("\nSIGTERM: stopped; all steps are saved\n")
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.fault("a second Ctrl-C, whatever the run does", "ends at once, without saving", 130)
def test_the_second_ctrl_c_ends_it_whatever_it_does():
    with start("step", "2", "unsaved") as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline().startswith("SIGINT: stopping and saving; press Ctrl-C again")
        process.send_signal(signal.SIGINT)
        assert told(process) == "\nSIGINT: stopped without saving\n"
    assert process.returncode == 128 + signal.SIGINT


def test_a_hangup_that_is_ignored_stays_so():
    with start("step", "2", "unsaved", "nohup") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline() == "\n"
        assert process.stderr.readline() == "SIGTERM: stopping and saving\n"
        process.kill()
