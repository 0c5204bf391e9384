"""``t5lite evaluate``: what a run has learned, measured on held-out data."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.core import command_line
from t5lite.core.home import expand_fields
from t5lite.runner.averages import Average
from t5lite.runner.evaluation import Evaluation, EvaluationChanges, evaluate
from t5lite.runner.evaluation_records import store_evaluation


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a run, or an imported model, on held-out data; print it, and keep it in RUN/evaluations."""

    run: str
    """Run directory."""
    evaluations: tuple[str, ...] = ()
    """Which of the run's evaluations, by name; all of them by default."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""
    average: Average | None = None
    """Take the mean of so many checkpoints, this one the last, or ema, the moving average in it."""
    store: str | None = None
    """Held-out store; that of the evaluation by default. An imported model needs one."""
    max_examples: int | None = None
    """Use at most this many examples; the run's own limit by default."""
    batch_size: int | None = None
    """Examples at once; the run's own by default, and no more than there are."""
    task: str | None = None
    """Of pairs, generate text and score it by this task, or .json file of one; the run's own by default."""
    inputs_length: int | None = None
    """Of an imported model, tokens of an input; by default what it has positions for."""

    def __post_init__(self):
        expand_fields(self, "run", "store", "task")


def run(arguments: Sequence[str]) -> int:
    """Evaluate; of each evaluation, print one line a metric, and then store what was printed."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite evaluate")
    one_process.say_so()
    xla.configure()
    changes = EvaluationChanges(
        store=parsed.store,
        max_examples=parsed.max_examples,
        batch_size=parsed.batch_size,
        task=parsed.task,
        inputs_length=parsed.inputs_length,
    )
    results = evaluate(
        parsed.run,
        changes,
        names=parsed.evaluations,
        step=parsed.step,
        average=parsed.average,
        announce=lambda text: print(f"t5lite evaluate: {text}", file=sys.stderr, flush=True),
    )
    for result in results:
        _print(result, parsed.run)
        store_evaluation(parsed.run, result)
    return 0


def _print(result: Evaluation, run: str) -> None:
    width = max(map(len, result.metrics))
    print(f"{run} at step {result.step}, {result.name}: {result.store} ({result.num_examples:,} examples)")
    for name, value in result.metrics.items():
        print(f"  {name:<{width}}  {value:.4f}")
    for note in result.notes:
        print(note)
    sys.stdout.flush()
