"""The loop of platforms without a scheduler: starts processes, ends them together, starts them again."""

from t5lite.launching.exit_policy import FINAL, shell_pattern
from t5lite.launching.job import Job
from t5lite.launching.template import fill


def script(job: Job) -> str:
    """Return the last part of a script that sets ``num_processes`` and defines ``start`` and ``tell``."""
    text = fill("supervisor.sh", MAX_RESTARTS=job.max_restarts, FINAL=shell_pattern(FINAL))
    return text.removesuffix("\n")
