"""``t5lite evaluate``: what a run has learned, measured on held-out data."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from t5lite.cli import one_process, xla
from t5lite.core.home import expand_fields
from t5lite.runner.evaluation import evaluate


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a run on held-out data and write RUN/evaluation.json."""

    run: str
    """Run directory."""
    step: int | None = None
    """Checkpoint step; the newest by default."""
    store: str | None = None
    """Held-out store; the one of the run's configuration by default."""
    max_examples: int | None = None
    """Use at most this many examples; the run's own limit by default."""
    batch_size: int | None = None
    """Examples at once; the run's own by default."""

    def __post_init__(self):
        expand_fields(self, "run", "store")


def run(arguments: Sequence[str]) -> int:
    """Evaluate and print one line a metric."""
    parsed = tyro.cli(Arguments, prog="t5lite evaluate", args=list(arguments))
    one_process.say_so()
    xla.configure()
    result = evaluate(
        parsed.run,
        step=parsed.step,
        store=parsed.store,
        max_examples=parsed.max_examples,
        batch_size=parsed.batch_size,
    )
    width = max(map(len, result.metrics))
    print(f"{parsed.run} at step {result.step}, {result.store} ({result.num_examples:,} examples)")
    for name, value in result.metrics.items():
        print(f"  {name:<{width}}  {value:.4f}")
    for note in result.notes:
        print(note)
    return 0
