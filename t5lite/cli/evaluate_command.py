"""``t5lite evaluate``: what a run has learned, measured on held-out data."""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.core import command_line
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.files import check_apart, check_new_file, write_text
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.decoding.options import DecodingOptions
from t5lite.partitioning import multihost
from t5lite.partitioning.agreed_errors import in_all_or_none
from t5lite.partitioning.lost_processes import failing_fast
from t5lite.runner.averages import Average
from t5lite.runner.evaluation import Evaluation, EvaluationChanges, evaluate
from t5lite.runner.evaluation_records import prediction_lines, store_evaluation
from t5lite.runner.int8_weights import Weights
from t5lite.runner.masked_words import evaluate_masked_words
from t5lite.runner.minimal_pairs import evaluate_minimal_pairs
from t5lite.runner.probing import evaluate_probes

_INSTEAD = {
    "minimal_pairs": evaluate_minimal_pairs,
    "masked_words": evaluate_masked_words,
    "probe": evaluate_probes,
}
"""Options that give a file to be measured instead of held-out data, and what does so."""
_OF_HELDOUT = (
    *("evaluations", "store", "max_examples", "task", "inputs_length", "robustness"),
    *("max_answer_length", "null_threshold"),
    *("coordinator_address", "num_processes", "process_id"),
)


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
    weights: Weights | None = None
    """int8 holds the kernels of layers in a quarter of the memory, rounded; by default as they were saved."""
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
    max_answer_length: int | None = None
    """Of questions with answers in a context, tokens of an answer at most; the run's own by default, of an
    imported model 30."""
    null_threshold: float | None = None
    """Of these, answer nothing where that scores higher by more than this; inf always answers, as SQuAD 1.1
    does; the run's own by default, of an imported model 0."""
    predictions: str | None = None
    """New .jsonl file, apart from the run, for all predictions: input, reference, prediction and scores of
    each example. They lie in RUN/evaluations, too."""
    robustness: bool = False
    """Also predict for the same inputs with typing errors, in lower and in upper case, and print how much
    worse each metric is."""
    minimal_pairs: str | None = None
    """Instead of held-out data, a file of rows with sentence_good and sentence_bad, or BLiMP's folder: in how
    many the good one is the more probable, also by field, linguistics_term and UID."""
    masked_words: str | None = None
    """Instead, a file of rows with text, in which one word is [MASK], its answer, and maybe candidates, a
    list: how high a masked LM or an encoder-decoder ranks the answer, and how often it prefers that."""
    probe: str | None = None
    """Instead, a file of rows with text and label: what a linear classifier finds in each layer of the
    encoder, beside the majority and a control of shuffled labels."""
    decoding: Annotated[DecodingOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DecodingOptions
    )
    """How texts that a task scores are written: any of these is taken in place of all of the task's decoding
    (--strategy greedy of any)."""
    coordinator_address: str | None = None
    """HOST:PORT of process 0 of several that measure together; a cluster is detected."""
    num_processes: int | None = None
    """How many processes measure together; 1 leaves the others of a cluster alone."""
    process_id: int | None = None
    """Which of them this is, from 0."""

    def __post_init__(self):
        expand_fields(self, "run", "store", "task", "predictions", *_INSTEAD)
        self.decoding.config()  # which refuses what does not go together
        given = [name for name in _OF_HELDOUT if getattr(self, name) not in (None, (), False)]
        given += list(self.decoding.given)
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size} must be positive")
        instead = [name for name in _INSTEAD if getattr(self, name) is not None]
        if instead and len(instead) + len(given) > 1:
            first, second = (name.replace("_", "-") for name in [*instead, *given][:2])
            raise ConfigError(
                f"--{first} measures the texts of a file instead of held-out data, and --{second} is given, "
                "too; give one of them"
            )


def run(arguments: Sequence[str]) -> int:
    """Evaluate; of each evaluation, print one line a metric, and then store what was printed.

    Of several processes the leader alone does so.
    """
    parsed = command_line.parse(Arguments, arguments, prog="t5lite evaluate")
    file = None if parsed.predictions is None else place(parsed.predictions)
    xla.configure()
    for option, measure in _INSTEAD.items():
        if (texts := getattr(parsed, option)) is not None:
            _check_predictions(file, parsed.run)
            one_process.say_so()
            _keep(parsed, file, _measured(parsed, measure, texts))
            return 0
    multihost.initialize(
        coordinator_address=parsed.coordinator_address,
        num_processes=parsed.num_processes,
        process_id=parsed.process_id,
    )
    with failing_fast():
        in_all_or_none(lambda: _check_predictions(file, parsed.run))  # a disk of one's own may have it
        _evaluate(parsed, file)
    return 0


def _evaluate(parsed: Arguments, file: StoragePath | None) -> None:
    changes = EvaluationChanges(
        store=parsed.store,
        max_examples=parsed.max_examples,
        batch_size=parsed.batch_size,
        task=parsed.task,
        decoding=parsed.decoding.given or None,
        inputs_length=parsed.inputs_length,
        max_answer_length=parsed.max_answer_length,
        null_threshold=parsed.null_threshold,
    )
    results = evaluate(
        parsed.run,
        changes,
        names=parsed.evaluations,
        step=parsed.step,
        average=parsed.average,
        weights=parsed.weights,
        must_predict=file is not None,
        robust=parsed.robustness,
        announce=_announce if multihost.is_leader() else lambda text: None,
    )
    _keep(parsed, file, results)


def _measured(parsed: Arguments, measure: Callable[..., Evaluation], texts: str) -> Iterator[Evaluation]:
    yield measure(
        parsed.run,
        texts,
        step=parsed.step,
        average=parsed.average,
        weights=parsed.weights,
        batch_size=parsed.batch_size or 32,
        announce=_announce,
    )


def _keep(parsed: Arguments, file: StoragePath | None, results: Iterable[Evaluation]) -> None:
    """Print and store each result as it comes; the leader alone, of several processes."""
    lines = []
    for result in results:
        if multihost.is_leader():
            _print(result, parsed.run)
            store_evaluation(parsed.run, result)
            lines.append(prediction_lines(result))
    if file is not None and multihost.is_leader():
        write_text(file, "".join(lines))


def _announce(text: str) -> None:
    print(f"t5lite evaluate: {text}", file=sys.stderr, flush=True)


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
    scores = result.scores
    for name, value in result.metrics.items():
        if name.removesuffix("_error") in scores and name.endswith("_error"):
            continue  # the interval says as much
        line = f"  {name:<{width}}  {value:.4f}"
        if name in scores and (interval := scores[name].interval):
            line += f"  [{interval.low:.4f}, {interval.high:.4f}]"
        print(line)
    _print_robustness(result)
    if any(score.interval for score in scores.values()):
        print("[low, high]: 95 % of 1,000 resamples of the examples (bootstrap)")
    for name, score in scores.items():
        if score.signature:
            print(f"{name}: {score.signature}")
    for note in result.notes:
        print(note)
    sys.stdout.flush()


def _print_robustness(result: Evaluation) -> None:
    """Print of each change of the inputs what it does to each metric, with the interval of the difference."""
    for name, found in result.robustness.items():
        print(f"  with {name} ({found.num_changed:,} of {result.num_examples:,} inputs are another text)")
        width = max(map(len, found.changes))
        for metric, each in found.changes.items():
            ends = f"[{each.interval.low:+.4f}, {each.interval.high:+.4f}]"
            print(f"    {metric:<{width}}  {each.value:+.4f}  {ends}")
