"""Runs whose loss lies far above what other runs allow: something went wrong, which no law is of."""

import numpy as np

from t5lite.scaling.observations import Observations, budget_numbers

_GAP = 1.5
"""Of the highest loss that others allow."""
_STEEPEST = 0.5
"""Of exponents of N and D; those of published laws of tokens are 0.2 to 0.45."""


def diverged(observations: Observations) -> np.ndarray:
    """Return which runs look diverged, [P]: fewer than half of their budget, far above what the others allow.

    By L = E + A / N^alpha + B / D^beta a run of f times fewer parameters or tokens than another has at most
    f^alpha or f^beta times its loss, whatever the constants are. Along a budget ln L is convex in ln N, too,
    so that a run is below the line through one on either side. A sparse ladder of small models obeys both.
    Where there are no budgets, all runs are one, and the first alone holds. What lies below such a gap in the
    lower half may be wrong itself, and tells nothing of others; points of training curves, which begin high,
    are not judged.
    """
    found = np.zeros(len(observations), bool)
    if observations.runs is not None:
        return found
    numbers = budget_numbers(observations)
    if numbers is None:
        return _of_one(observations, has_one_cost=False)
    for number in np.unique(numbers):
        of_budget = np.flatnonzero(numbers == number)
        found[of_budget] = _of_one(observations.take(of_budget), has_one_cost=True)
    return found


def _of_one(runs: Observations, *, has_one_cost: bool) -> np.ndarray:
    order = np.argsort(runs.loss, kind="stable")
    runs, fewest = runs.take(order), len(order) // 2 + 1
    gaps = np.flatnonzero(runs.loss[1:fewest] > _GAP * runs.loss[: fewest - 1])
    lowest = gaps.max(initial=-1) + 1
    good = np.arange(len(order)) >= lowest
    is_bad = np.zeros(len(order), bool)
    first = np.searchsorted(runs.loss, _GAP * runs.loss[lowest], side="right")
    for place in range(max(fewest, first), len(order)):
        others = runs.take(np.flatnonzero(good[:place]))
        params, tokens = runs.params[place], runs.tokens[place]
        allowed = _by_sizes(params, tokens, others)
        if has_one_cost:
            allowed = min(allowed, _between(params, others))
        is_bad[order[place]] = runs.loss[place] > _GAP * allowed
        good[place] = not is_bad[order[place]]
    return is_bad


def _by_sizes(params: float, tokens: float, others: Observations) -> float:
    """Return the highest loss of such a run that each of the others allows."""
    fewer = np.maximum(1, np.maximum(others.params / params, others.tokens / tokens))
    return float(np.min(others.loss * fewer**_STEEPEST))


def _between(params: float, others: Observations) -> float:
    """Return ln L of the others of a budget interpolated over ln N, as a loss; infinite beyond them."""
    order = np.argsort(others.params, kind="stable")
    sizes, logs = np.log(others.params[order]), np.log(others.loss[order])
    return float(np.exp(np.interp(np.log(params), sizes, logs, left=np.inf, right=np.inf)))


def diverged_note(bad: Observations, *, num_runs: int, highest: float) -> str:
    """Name runs that look diverged, and say how a fit is made without them.

    Args:
      bad: the runs, one or more.
      num_runs: among which they were found.
      highest: loss of all rows that --loss-below acts on, but for those that look diverged.
    """
    worst = np.argmax(bad.loss)
    said = (
        f"{len(bad)} of {num_runs} runs have losses more than {_GAP:g} times what other runs allow (worst "
        f"{bad.loss[worst]:.4g}, at N={bad.params[worst]:.4g}, D={bad.tokens[worst]:.4g}) and bend fits; if "
        "they diverged, "
    )
    between = float(f"{np.sqrt(bad.loss.min() * highest):.2g}")
    if highest < between <= bad.loss.min():
        return f"{said}t5lite scaling fit --loss-below {between:g} leaves them out"
    rows = [
        f"N={params:.6g}, D={tokens:.6g}, loss {loss:.6g}"
        for params, tokens, loss in zip(bad.params, bad.tokens, bad.loss, strict=True)
    ]
    return (
        f"{said}take their rows out of the table, since other runs have such losses, too: {'; '.join(rows)}"
    )
