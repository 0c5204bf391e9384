"""IsoFLOP profiles: a parabola for each budget, and a line through their lowest points.

Chinchilla's second approach (Hoffmann et al., 2022, section 3.2), as Llama 3 (Dubey et al., 2024, section
3.2.1) took it: the loss of a budget's runs is a parabola of the logarithm of tokens (or parameters),
whose vertex is the optimum of that budget; optima are a power law of the budget. Each of the two is
fitted by itself, so that the exponents need not add up to 1 where a table's FLOPs are not proportional to
parameters times tokens.

The vertex of a free parabola is biased where loss rises less steeply on one side than on the other, as
every law with two different exponents has it: ``methods.parabola_bias`` says by how much, for a given law and
the table's own points.
"""

from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.intervals import Residuals
from t5lite.scaling.observations import FEWEST_POINTS, Observations, budget_numbers
from t5lite.scaling.power_law import BestSizes, fit_power_law

_FARTHEST = 1.5
"""Of a vertex from the middle of the sizes that were tried, in widths of these (of logarithms)."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One budget.

    Attributes:
      flops: of the budget, the geometric mean of its runs.
      num_points: of it.
      tokens: that are best, at the parabola's vertex.
      params: that are best, at the vertex of the parabola of parameters.
      loss: at the vertex.
      curve: coefficients of the parabola of ln tokens, highest power first, [3].
      outside: the vertex is outside of what was tried, so that it is extrapolated.
    """

    flops: float
    num_points: int
    tokens: float
    params: float
    loss: float
    curve: np.ndarray
    outside: bool


@dataclass(frozen=True, kw_only=True)
class IsoFlopFit(BestSizes):
    """Optima of all budgets, and the laws through them.

    Attributes:
      profiles: that have an optimum, from the smallest budget.
      left_out: budgets (FLOPs) without one: fewer than three sizes, or no lowest point near them.
    """

    profiles: tuple[Profile, ...]
    left_out: tuple[float, ...]


def fit_isoflop(observations: Observations) -> IsoFlopFit:
    """Fit a parabola for each budget and lines through the vertices.

    Raises:
      DataError: if the points are of no budgets, or fewer than two budgets have a lowest point.
    """
    numbers = budget_numbers(observations)
    if numbers is None:
        raise DataError(
            "isoFLOP profiles need two budgets (FLOPs within a tenth) or more, each of three runs or more"
        )
    profiles, left_out = [], []
    for number in range(numbers.max() + 1):
        budget = observations.take(numbers == number)
        profile = profile_of(budget)
        if profile is None:
            left_out.append(_flops(budget))
        else:
            profiles.append(profile)
    if len(profiles) < 2:
        raise DataError(
            f"only {len(profiles)} of {numbers.max() + 1} budgets has a lowest point; two are needed"
        )
    flops = np.array([profile.flops for profile in profiles])
    return IsoFlopFit(
        profiles=tuple(profiles),
        left_out=tuple(left_out),
        tokens=fit_power_law(flops, np.array([profile.tokens for profile in profiles])),
        params=fit_power_law(flops, np.array([profile.params for profile in profiles])),
    )


def profile_of(budget: Observations) -> Profile | None:
    """Return the optimum of the runs of one budget; None if they have none."""
    tokens, params = _vertex(budget.tokens, budget.loss), _vertex(budget.params, budget.loss)
    if tokens is None or params is None:
        return None
    best, loss, curve = tokens
    return Profile(
        flops=_flops(budget),
        num_points=len(budget),
        tokens=best,
        params=params[0],
        loss=loss,
        curve=curve,
        outside=not budget.tokens.min() <= best <= budget.tokens.max(),
    )


def isoflop_residuals(fit: IsoFlopFit, observations: Observations) -> tuple[Observations, Residuals]:
    """Return the runs of the budgets with an optimum, and what their parabolas of tokens leave of them."""
    numbers = budget_numbers(observations)
    assert numbers is not None  # of runs that were fitted
    fitted, leverages = np.full(len(observations), np.nan), np.zeros(len(observations))
    for number in range(numbers.max() + 1):
        of_budget = np.flatnonzero(numbers == number)
        budget = observations.take(of_budget)
        if _flops(budget) in fit.left_out:
            continue
        sizes = np.log(budget.tokens)
        basis, _ = np.linalg.qr(np.vander(sizes - np.mean(sizes), 3))
        fitted[of_budget] = basis @ (basis.T @ budget.loss)
        leverages[of_budget] = np.sum(basis**2, axis=1)
    used = fitted > 0
    taken = observations.take(used)
    left = np.log(taken.loss / fitted[used])
    return taken, Residuals(fitted=fitted[used], left=left, leverages=leverages[used], groups=numbers[used])


def _flops(budget: Observations) -> float:
    return float(np.exp(np.mean(np.log(budget.flops))))


def _vertex(sizes: np.ndarray, loss: np.ndarray) -> tuple[float, float, np.ndarray] | None:
    """Return where the parabola of ln sizes is lowest, how low, and the parabola; None if it is not."""
    if len(np.unique(sizes)) < FEWEST_POINTS:
        return None
    middle = np.mean(np.log(sizes))
    curvature, slope, height = np.polyfit(np.log(sizes) - middle, loss, 2)
    if not curvature > 0:
        return None
    lowest = -slope / (2 * curvature)
    # Nearly a line: its vertex lies somewhere, further from what was tried than that is wide.
    if abs(lowest) > _FARTHEST * np.ptp(np.log(sizes)):
        return None
    best = np.exp(middle + lowest)
    curve = np.array(
        [curvature, slope - 2 * curvature * middle, height - slope * middle + curvature * middle**2]
    )
    return float(best), float(height + slope * lowest / 2), curve
