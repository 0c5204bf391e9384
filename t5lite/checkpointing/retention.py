"""Which checkpoints a run keeps."""

from collections.abc import Collection, Mapping


def best_steps(scores: Mapping[int, float], num: int, *, highest: bool) -> list[int]:
    """Return the ``num`` steps of the best scores, the best first; of equal ones the later."""
    sign = -1 if highest else 1
    return sorted(scores, key=lambda step: (sign * scores[step], -step))[:num]


def steps_to_remove(
    steps: Collection[int],
    *,
    keep_last: int,
    keep_every: int | None = None,
    keep: Collection[int] = (),
    last_good_step: int | None = None,
    best: Collection[int] = (),
) -> list[int]:
    """Return what no rule keeps.

    Args:
      steps: of the checkpoints that are there and whole.
      keep_last: how many of the newest are kept.
      keep_every: multiples of this are kept; None for no such rule.
      keep: steps that are kept.
      last_good_step: the newest step that is known to be good; the newest checkpoint up to it is kept, for it
        is the one to go back to: what the last update made of the parameters only the next loss tells.
      best: steps that are kept for their score.
    """
    kept = {*sorted(steps)[-keep_last:], *keep, *best}
    if keep_every is not None:
        kept |= {step for step in steps if step % keep_every == 0}
    if last_good_step is not None:
        kept |= {*sorted(step for step in steps if step <= last_good_step)[-1:]}
    return sorted(set(steps) - kept)
