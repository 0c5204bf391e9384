"""A job that ends at one step again and again: its scheduler would start it until nobody pays any more."""

from t5lite.core.errors import UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.storage.addresses import StoragePath
from t5lite.runner.cost_record import newest_step
from t5lite.training.attempts import Attempt, read_attempts
from t5lite.training.goodput import reached_steps

_ATTEMPTS = 3
_FIRST_SIGNAL = 128
"""Of the exit codes."""


def check_is_getting_on(directory: StoragePath, job: str | None, program: str) -> None:
    """Check that the last attempts of a job did not all break off at the same step.

    A machine that is lost does not come at one step, and in an outage no attempt finishes one: what ended for
    the machine's sake, hung or was killed counts only if it had. What a signal ended does not count, nor what
    ended before its first step began. A start by hand, as another job, or of another program is what someone
    wants, who may have mended the cause.

    Args:
      directory: of the run.
      job: the scheduler's name for this start and those that it makes of the same job.
      program: a digest of the configuration and software of this start.

    Raises:
      UserError: if they did, with how the last one ended.
    """
    attempts, _ = read_attempts(directory)
    last = attempts[-_ATTEMPTS:]
    if job is None or [(attempt.job, attempt.program) for attempt in last] != [(job, program)] * _ATTEMPTS:
        return
    reached = reached_steps(last)
    if last[-1].end is None:
        reached[-1] = max(reached[-1], newest_step(directory))
    if len({*reached}) > 1 or not all(map(_broke_off, last, reached)):
        return
    *others, newest = [str(attempt.number) for attempt in last]
    end = last[-1].end
    how = "without a word" if end is None else end.message or f"with exit code {end.exit_code}"
    raise UserError(
        f"attempts {', '.join(others)} and {newest} of {job} all broke off at step {reached[-1]}, the last "
        f"one {how}: another start would end there, too; see its log and stacks/ in the run directory. "
        "With another configuration or version, by hand, or as another job (T5LITE_JOB, --name), the run "
        "goes on from its newest checkpoint"
    )


def _broke_off(attempt: Attempt, reached: int) -> bool:
    finished_a_step = reached > attempt.first_step
    end = attempt.end
    if end is None or end.exit_code in (ExitCode.TRANSIENT, ExitCode.HANG):
        return finished_a_step
    is_by_signal = end.exit_code >= _FIRST_SIGNAL
    is_bad = end.reason in ("failed", "ended") and not is_by_signal
    return is_bad and (finished_a_step or attempt.seconds.step > 0)
