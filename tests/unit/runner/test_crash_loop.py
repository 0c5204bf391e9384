"""A job that breaks off at the same step again and again is not started once more."""

import dataclasses
import json

import pytest

from t5lite.core.errors import UserError
from t5lite.core.files import write_json
from t5lite.runner.crash_loop import check_is_getting_on
from t5lite.training.attempts import LEDGER_FOLDER, Attempt, End, PhaseSeconds, to_json

JOB = "T5LITE_JOB=base"
ABORTED = End(reason="ended", exit_code=75)
BUG = End(reason="failed", exit_code=1, message="IndexError: 7")


def attempt(number, last, end, *, first=40, found=0, job=JOB, program="a", step=30.0) -> Attempt:
    return Attempt(
        number=number,
        host="host",
        pid=1,
        job=job,
        program=program,
        num_processes=2,
        num_devices=2,
        started=100.0 * number,
        seconds=PhaseSeconds(startup=5.0, step=step),
        waited_seconds=0.0,
        first_step=first,
        last_step=last,
        num_steps=last - first,
        found_step=found,
        end=end,
    )


def write_attempts(directory, attempts) -> None:
    for each in attempts:
        write_json(directory / LEDGER_FOLDER / f"{each.number:06d}.json", to_json(each))


@pytest.mark.parametrize(
    ("attempts", "said"),
    [
        (
            [attempt(n, 47, ABORTED) for n in (1, 2, 3)],
            "attempts 1, 2 and 3 .* step 47, .* one with exit code 75:",
        ),
        ([attempt(n, 47, BUG) for n in (5, 6, 7)], "attempts 5, 6 and 7 .* step 47, .* one IndexError: 7:"),
        # At the first step after the checkpoint.
        ([attempt(n, 40, BUG, step=0.5) for n in (1, 2, 3)], "step 40"),
        # Killed: what the last one reached is in the metrics alone, what those before did in the next one.
        (
            [attempt(n, 44 + n, None, found=47 if n > 1 else 0) for n in (1, 2, 3)],
            "step 47, .* one without a word:",
        ),
        ([attempt(1, 60, ABORTED), *(attempt(n, 47, ABORTED) for n in (2, 3, 4))], "attempts 2, 3 and 4"),
    ],
)
def test_three_ends_at_one_step_are_enough(tmp_path, attempts, said):
    write_attempts(tmp_path, attempts)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 47, "loss": 1.0}) + "\n")
    with pytest.raises(UserError, match=said) as refusal:
        check_is_getting_on(tmp_path, JOB, "a")
    assert all(part in str(refusal.value) for part in (JOB, "as another job"))
    check_is_getting_on(tmp_path, None, "a")
    check_is_getting_on(tmp_path, "T5LITE_JOB=another", "a")
    check_is_getting_on(tmp_path, JOB, "another")


OUTAGE = End(reason="failed", exit_code=75, message="the store does not answer")
HUNG = End(reason="ended", exit_code=76)
TERMINATED = End(reason="ended", exit_code=143)
GETS_ON = [
    [attempt(n, 47, ABORTED) for n in (1, 2)],
    [attempt(n, 46 + n, ABORTED) for n in (1, 2, 3)],
    [attempt(n, 47, ABORTED) for n in (1, 2)] + [attempt(3, 48, ABORTED)],
    [attempt(n, 47, End(reason="preempted", exit_code=143)) for n in (1, 2, 3)],
    [
        attempt(1, 47, ABORTED),
        attempt(2, 47, End(reason="preempted", exit_code=143)),
        attempt(3, 47, ABORTED),
    ],
    # An outage for hours, in which no attempt gets as far as a step.
    [attempt(n, 40, OUTAGE, step=0.0) for n in range(1, 9)],
    # A bad fabric, a hang in the first collective, or a machine that is lost in a long first step.
    *([attempt(n, 40, end, found=40) for n in (1, 2, 3)] for end in (ABORTED, OUTAGE, HUNG, None)),
    # A signal: before the first step is done there is nothing to save.
    *([attempt(n, last, TERMINATED) for n in (1, 2, 3)] for last in (40, 47)),
    # Lost machines, each of them before the first step.
    [attempt(n, 40, None, found=40, step=0.0) for n in range(1, 9)],
    # Another configuration or version, or one that did not say.
    *([attempt(1, 47, BUG, program=p), *(attempt(n, 47, BUG) for n in (2, 3))] for p in ("b", None)),
    [attempt(1, 47, ABORTED, job="T5LITE_JOB=other"), *(attempt(n, 47, ABORTED) for n in (2, 3))],
    [],
]


@pytest.mark.parametrize("attempts", GETS_ON)
def test_what_a_machine_or_an_outage_does_is_restarted(tmp_path, attempts):
    write_attempts(tmp_path, attempts)
    check_is_getting_on(tmp_path, JOB, "a")


def test_runs_outside_of_a_job_are_a_persons(tmp_path):
    write_attempts(tmp_path, [dataclasses.replace(attempt(n, 47, ABORTED), job=None) for n in (1, 2, 3)])
    check_is_getting_on(tmp_path, None, "a")
