"""``t5lite evaluate``: what a run has learned, measured on held-out data."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.core import command_line
from t5lite.core.errors import DataError
from t5lite.core.files import check_apart, check_new_file, write_text
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.runner.averages import Average
from t5lite.runner.evaluation import Evaluation, EvaluationChanges, evaluate
from t5lite.runner.evaluation_records import prediction_lines, store_evaluation


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
    """Take the mean of so many checkpoints, this one the last, or ema, the moving average in it; by default
    what made the best one the best, and 1 (its own parameters) of others."""
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
    predictions: str | None = None
    """New .jsonl file, apart from the run, for all predictions: input, reference, prediction and scores of
    each example. They lie in RUN/evaluations, too."""

    def __post_init__(self):
        expand_fields(self, "run", "store", "task", "predictions")


def run(arguments: Sequence[str]) -> int:
    """Evaluate; of each evaluation, print one line a metric, and then store what was printed."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite evaluate")
    file = None if parsed.predictions is None else place(parsed.predictions)
    _check_predictions(file, parsed.run)
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
        must_predict=file is not None,
        announce=lambda text: print(f"t5lite evaluate: {text}", file=sys.stderr, flush=True),
    )
    lines = []
    for result in results:
        _print(result, parsed.run)
        store_evaluation(parsed.run, result)
        lines.append(prediction_lines(result))
    if file is not None:
        write_text(file, "".join(lines))
    return 0


def _check_predictions(path: StoragePath | None, run: str) -> None:
    if path is None:
        return
    check_new_file(path)
    check_apart(path, [run])
    if path.suffix.lower() != ".jsonl":
        raise DataError(f"--predictions {path}: JSON lines are written; give a name in .jsonl")
    if path.exists():
        raise DataError(f"--predictions {path} is there already; give another name, or delete it")


def _print(result: Evaluation, run: str) -> None:
    width = max(map(len, result.metrics))
    print(f"{run} at step {result.step}, {result.name}: {result.store} ({result.num_examples:,} examples)")
    scores = {} if result.predictions is None else result.predictions.found
    for name, value in result.metrics.items():
        if name.removesuffix("_error") in scores and name.endswith("_error"):
            continue  # the interval says as much
        line = f"  {name:<{width}}  {value:.4f}"
        if name in scores and (interval := scores[name].interval):
            line += f"  [{interval.low:.4f}, {interval.high:.4f}]"
        print(line)
    if any(score.interval for score in scores.values()):
        print("[low, high]: 95 % of 1,000 resamples of the examples (bootstrap)")
    for name, score in scores.items():
        if score.signature:
            print(f"{name}: {score.signature}")
    for note in result.notes:
        print(note)
    sys.stdout.flush()
