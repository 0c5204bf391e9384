"""What the numbers say, in sentences: shared by the report and the terminal, and written to be honest.

A sentence claims no more than the numbers carry: a difference within two standard errors is called
open, a model that loses to counting or to scratch is said to.
"""

import math

from t5lite.quickstart.results import MetricRow, Pretraining, TaskResult

ENCODER_USE = (
    "Encoder use is the rise in held-out loss when every example is given the encoder input of another "
    "example: a model that ignores its encoder shows 0."
)
NGRAM_CAVEAT = (
    "The n-gram models read the same held-out text from left to right, the model sees context on both "
    "sides of a gap, so their lines mark what counting alone achieves; beating them is the least to expect."
)
TABLE_HEADERS = ("score", "pretrained", "scratch", "difference", "baseline")
IGNORED_BELOW = 0.1
"""Encoder use, in nats, under which the decoder hardly reads its encoder."""


def signed(value: float, digits: int = 1) -> str:
    """Return ``value`` with its sign, a true minus, and no negative zero."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "\u2212") + text


def duration(seconds: float) -> str:
    """Return a time as readers say it: ``8.2 s``, ``5 min 07 s``, ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def learned(pretraining: Pretraining) -> str:
    """Say how held-out loss and perplexity moved from the first evaluation to the last."""
    first, last = pretraining.heldout[0], pretraining.heldout[-1]
    if not math.isfinite(last.loss):
        return f"Pretraining diverged: the held-out loss is {last.loss} after {last.step:,} steps."
    moved = (
        f"held-out loss went from {first.loss:.2f} to {last.loss:.2f} nats per target token "
        f"(perplexity {first.perplexity:,.1f} to {last.perplexity:,.1f}) in {last.step:,} steps."
    )
    return f"The {moved}" if last.loss < first.loss else f"The model did not learn: {moved}"


def against_ngrams(pretraining: Pretraining) -> str:
    """Compare the final loss on text pieces with both n-gram baselines."""
    loss, ngrams = pretraining.heldout[-1].text_loss, pretraining.ngrams
    start = f"On text pieces alone the loss is {loss:.2f}"
    if not math.isfinite(loss):
        return f"{start}."
    if loss < ngrams.bigram:
        return (
            f"{start}: {ngrams.bigram - loss:.2f} below the bigram model ({ngrams.bigram:.2f}) and "
            f"{ngrams.unigram - loss:.2f} below the unigram model ({ngrams.unigram:.2f})."
        )
    if loss < ngrams.unigram:
        return (
            f"{start}, better than counting single tokens ({ngrams.unigram:.2f}) but not better than "
            f"counting pairs: the bigram model has {ngrams.bigram:.2f}."
        )
    return f"{start}, worse than counting single tokens ({ngrams.unigram:.2f}): nothing useful was learned."


def encoder_use(pretraining: Pretraining) -> str:
    """Say whether the decoder reads its encoder."""
    value = pretraining.heldout[-1].encoder_use
    if not math.isfinite(value):
        return f"Encoder use could not be measured: it is {value}."
    if value < IGNORED_BELOW:
        return (
            f"Swapping encoder inputs costs only {value:.2f} nats: the model all but ignores its encoder, "
            "and little can be expected to transfer."
        )
    return f"Swapping encoder inputs costs {value:.2f} nats: the decoder reads its encoder."


def row_finding(row: MetricRow) -> str:
    """Say whether pretraining helped on one score, and whether the score beats its baseline."""
    gap, error = row.difference, row.difference_error
    size = f"{abs(gap):.1f} points ({'error unknown' if error is None else f'standard error {error:.1f}'})"
    if error is not None and abs(gap) <= 2 * error:
        lead = "scratch" if gap < 0 else "pretrained"
        text = f"no clear difference, {lead} ahead by {size}, within two standard errors"
        text += "." if gap > 0 else ": pretraining did not help here."
    elif gap > 0:
        text = f"pretraining helped, {size} above scratch."
    else:
        text = f"pretraining did not help, {size} below scratch."
    if row.baseline is not None and row.pretrained <= row.baseline:
        text += f" The pretrained model does not beat {row.baseline_name} ({row.baseline:.1f})."
    return f"{row.label}: {text}"


def summary(tasks: tuple[TaskResult, ...]) -> str:
    """Count the scores on which pretrained is ahead, and those where the lead is beyond chance."""
    rows = [row for task in tasks for row in task.rows]
    if not rows:
        return "No fine-tuning task was run."
    ahead = sum(row.difference > 0 for row in rows)
    if ahead == 0:
        return f"Pretraining did not help on any of {len(rows)} scores."
    text = f"Pretrained is ahead of scratch on {ahead} of {len(rows)} scores"
    known = [(row.difference, row.difference_error) for row in rows if row.difference_error is not None]
    if known:
        clear = sum(gap > 2 * error for gap, error in known)
        text += f", by more than two standard errors on {clear} of the {len(known)} whose error is known"
    return f"{text}."


def _plus_minus(value: str, error: float | None) -> str:
    return value if error is None else f"{value} ± {error:.1f}"


def row_cells(row: MetricRow) -> tuple[str, str, str, str, str]:
    """Return the cells of one line of the score table, in the order of ``TABLE_HEADERS``."""
    return (
        row.label,
        _plus_minus(f"{row.pretrained:.1f}", row.pretrained_error),
        _plus_minus(f"{row.scratch:.1f}", row.scratch_error),
        _plus_minus(signed(row.difference), row.difference_error),
        "" if row.baseline is None else f"{row.baseline:.1f} ({row.baseline_name})",
    )
