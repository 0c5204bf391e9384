"""What a run says about its data: how pairs fill their rows, the shares of a mixture, what changed."""

from collections.abc import Mapping, Sequence

from t5lite.data.left_out import LeftOut
from t5lite.data.mixture_schedule import NO_SOURCE, PERIOD, MixturePhase
from t5lite.data.pipeline import BatchStream, DataConfig
from t5lite.data.position import DataPosition

_LOSSES = ("truncated", "dropped")
_UNSEEN = {
    "words_unseen": ("words", "words are cut off or have no token (predicted as O)"),
    "questions_unanswered": ("questions", "questions have no answer"),
    "answers_unseen": ("questions", "answers are in no row as a whole (more inputs_length may hold them)"),
    "answers_too_long": (
        "questions",
        "answers have more tokens than max_answer_length, so that none of them is predicted whole",
    ),
    "answers_widened": ("questions", "answers begin or end within a token, and whole tokens are predicted"),
}
"""Counts of a report, the count that each is a part of, and what is said of them."""


def data_messages(pipeline: BatchStream, *, position: int) -> list[str]:
    """Return what to say of the data when training starts at ``position``, the examples seen."""
    if pipeline.history is None:
        usage = data_usage(pipeline.report)
        return [usage] if usage else []
    messages = mixture_changes(pipeline.history.phases, position=position)
    given = pipeline.counts(position)
    for name, source in pipeline.sources.items():
        epochs = given[name] / source.num_examples
        usage = data_usage(source.report)
        messages.append(
            f"source {name}: {pipeline.shares[name]:.2%} of the examples, {source.num_examples:,} an epoch"
            f"{f', {epochs:.2f} epochs given' if position else ''}{f', {usage}' if usage else ''}"
        )
    return messages


def mixture_changes(phases: Sequence[MixturePhase], *, position: int) -> list[str]:
    """Return what to say where the shares of a mixture change at ``position``; nothing where they do not."""
    if len(phases) < 2 or phases[-1].first_position != position:
        return []
    before, after = ({share.name: share.places / PERIOD for share in phase.shares} for phase in phases[-2:])
    changes = [
        f"{name} {f'{before[name]:.2%}' if name in before else 'new'} → "
        f"{f'{after[name]:.2%}' if name in after else 'no more'}"
        for name in sorted(before.keys() | after.keys())
        if name != NO_SOURCE and before.get(name) != after.get(name)
    ]
    return [f"the mixture changes here: {', '.join(changes)}; every source goes on where it was"]


def left_out_messages(left_out: LeftOut) -> list[str]:
    """Return what to say of examples that are left out; nothing where none is."""
    if not left_out.ranges:
        return []
    listed = ", ".join(f"{start:,} to {stop - 1:,}" for start, stop in left_out.ranges)
    return [f"left out, since the numbers went bad there (rollbacks.json): the examples {listed}"]


def unseen_rows(
    pipeline: BatchStream, *, num_steps: int, batch_size: int, position: DataPosition
) -> str | None:
    """Return what to say of the data that a whole run never sees; None where it sees all at least once.

    Args:
      pipeline: of the run.
      num_steps: that are still to come.
      batch_size: of these.
      position: the examples seen before.
    """
    seen = position.after(num_steps, batch_size=batch_size).examples_seen
    if pipeline.num_positions is not None and pipeline.num_positions > seen:
        left = pipeline.num_positions - seen
        why = f"less than a batch of {batch_size}" if left < batch_size else "beyond the last step"
        return f"the last {left:,} of {pipeline.num_positions:,} rows ({pipeline.end}) are never seen: {why}"
    epoch = pipeline.num_examples - pipeline.left_out.num_before(pipeline.num_examples)
    if seen < epoch and pipeline.history is None:
        return (
            f"{epoch - seen:,} of {epoch:,} examples are never seen: "
            f"{f'{position.examples_seen:,} seen and ' if position.examples_seen else ''}{num_steps:,} steps "
            f"of {batch_size} are less than an epoch"
        )
    return None


def unreached_settings(config: DataConfig, pipeline: BatchStream, *, examples: int) -> list[str]:
    """Return what to say of settings of the sources that begin only after a run that sees ``examples``."""
    place = pipeline.left_out.place(examples)
    counts = pipeline.counts(place)
    messages = []
    for name, source in config.named_sources.items():
        if message := source.unreached(counts.get(name, place)):
            messages.append(f"source {name}: {message}" if name in counts else message)
    return messages


def data_usage(report: Mapping[str, float]) -> str | None:
    """Return how pairs fill their rows and what was cut or left out; None for text, which is all used."""
    if "pairs" not in report:
        return None
    lost = [f", {report[how]:,.0f} of {report['pairs']:,.0f} pairs {how}" for how in _LOSSES if report[how]]
    lost += [f", {each}" for each in labels_unseen(report)]
    if "density" in report:
        return f"tokens fill {report['density']:.0%} of the positions{''.join(lost)}"
    return (
        f"tokens fill {report['inputs_density']:.0%} of the encoder's and {report['targets_density']:.0%} of "
        f"the decoder's positions{''.join(lost)}"
    )


def labels_unseen(report: Mapping[str, float]) -> list[str]:
    """Return how much of what a head learns the model never sees, or cannot say exactly."""
    return [
        f"{report[which]:,.0f} of {report[whole]:,.0f} {said}"
        for which, (whole, said) in _UNSEEN.items()
        if report.get(which)
    ]


def skipped_rows(skipped: Mapping[str, int]) -> str:
    """Return what to say of rows that damage has cost so far."""
    newest = list(skipped)[-1]
    return (
        f"{sum(skipped.values()):,} rows left blank so far for damage in {len(skipped):,} places "
        f"(loader.on_damage=skip), the newest: {newest}"
    )
