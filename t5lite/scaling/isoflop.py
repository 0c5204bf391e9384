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

from dataclasses import dataclass, replace

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.intervals import Residuals
from t5lite.scaling.loss_of_compute import LossOfCompute, fit_loss_of_compute
from t5lite.scaling.observations import FEWEST_POINTS, Observations, budget_numbers
from t5lite.scaling.power_law import BestSizes, fit_power_law, fit_power_laws

_STEEP = 0.3
"""Above the lowest loss of a budget, from where a profile is no parabola."""
_FLAT = 1e-9
"""Of the loss: a parabola that rises by less over its sizes is of losses that differ by rounding alone."""
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
      left_out: budgets (FLOPs) without one: fewer than three sizes, or no lowest point near them and above 0.
      beyond: what runs change that are too far above the lowest for parabolas; None without such runs.
    """

    profiles: tuple[Profile, ...]
    left_out: tuple[float, ...]
    beyond: str | None = None


def fit_isoflop(observations: Observations) -> IsoFlopFit:
    """Fit a parabola for each budget and lines through the vertices.

    Raises:
      DataError: if the points are of no budgets, or fewer than two budgets have a lowest point.
    """
    return replace(_through_vertices(observations), beyond=_beyond_parabolas(observations))


def _through_vertices(observations: Observations) -> IsoFlopFit:
    numbers = budget_numbers(observations)
    if numbers is None:
        raise DataError(
            "isoFLOP profiles need two budgets (FLOPs within a tenth) or more, each of three runs or more; "
            "where costs of one budget scatter, give a column of rounded ones by --columns flops COLUMN"
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


def _beyond_parabolas(observations: Observations) -> str | None:
    numbers = budget_numbers(observations)
    assert numbers is not None  # of runs that were fitted
    lowest = np.full(numbers.max() + 1, np.inf)
    np.minimum.at(lowest, numbers, observations.loss)
    near = observations.loss < (1 + _STEEP) * lowest[numbers]
    if near.all():
        return None
    worst = np.argmax(observations.loss / lowest[numbers])
    said = (
        f"{np.sum(~near)} of {len(near)} runs have losses {_STEEP:.0%} or more above the lowest of their "
        f"budget, where a profile is no parabola (farthest {observations.loss[worst]:.4g}, at "
        f"N={observations.params[worst]:.4g}, D={observations.tokens[worst]:.4g})"
    )
    try:
        exponent = _through_vertices(observations.take(near)).numbers["N exponent"]
    except DataError:
        return said
    return f"{said}; without them the N exponent is {exponent:.3f}"


def refit_isoflop(
    observations: Observations, losses: np.ndarray
) -> list[tuple[BestSizes, LossOfCompute | None] | None]:
    """Return the laws through the vertices, and of the loss there, where runs have other ``losses`` [R, P].

    None where fewer than two budgets have a lowest point.
    """
    numbers = budget_numbers(observations)
    assert numbers is not None  # of runs that were fitted
    budgets = [observations.take(numbers == number) for number in range(numbers.max() + 1)]
    flops = np.array([_flops(budget) for budget in budgets])
    optima = np.full((3, len(losses), len(budgets)), np.nan)
    for number, budget in enumerate(budgets):
        of_budget = losses[:, numbers == number]
        tokens, params = _vertices(budget.tokens, of_budget), _vertices(budget.params, of_budget)
        if tokens is not None and params is not None:
            optima[:, :, number] = tokens[0], params[0], tokens[1]
    has_optimum = np.isfinite(optima).all(axis=0)
    found: list[tuple[BestSizes, LossOfCompute | None] | None] = [None] * len(losses)
    for which in np.unique(has_optimum, axis=0):
        if which.sum() < 2:
            continue
        alike = np.flatnonzero((has_optimum == which).all(axis=1))
        at = flops[which]
        tokens, params, loss = optima[:, alike][:, :, which]
        laws = fit_power_laws(at, tokens), fit_power_laws(at, params)
        of_loss = fit_loss_of_compute(at, loss) or [None] * len(alike)
        for row, of_tokens, of_params, law in zip(alike, *laws, of_loss, strict=True):
            found[row] = BestSizes(tokens=of_tokens, params=of_params), law
    return found


def profile_of(budget: Observations) -> Profile | None:
    """Return the optimum of the runs of one budget; None if they have none."""
    found = (_vertices(sizes, budget.loss[None]) for sizes in (budget.tokens, budget.params))
    tokens, params = found
    if tokens is None or params is None or not np.isfinite(tokens[0] + params[0]).all():
        return None
    (lowest,), (loss,), (curve,) = tokens
    best = float(np.exp(lowest))
    return Profile(
        flops=_flops(budget),
        num_points=len(budget),
        tokens=best,
        params=float(np.exp(params[0][0])),
        loss=float(loss),
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


def _vertices(sizes: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return where parabolas of ln sizes [P] are lowest; None of fewer than three sizes.

    Returns:
      ln of the size, [R], of each row of ``losses`` [R, P], not a number where there is no lowest point
      near; the loss there, [R]; the parabolas, [R, 3].
    """
    if len(np.unique(sizes)) < FEWEST_POINTS:
        return None
    middle = np.mean(np.log(sizes))
    curvature, slope, height = np.polyfit(np.log(sizes) - middle, losses.T, 2)
    with np.errstate(all="ignore"):  # of straight lines
        lowest = -slope / (2 * curvature)
    # Nearly a line: its vertex lies somewhere, further from what was tried than that is wide.
    width = np.ptp(np.log(sizes))
    bends = curvature * width**2 > _FLAT * np.abs(height)
    near = bends & (np.abs(lowest) <= _FARTHEST * width)
    loss = height + slope * lowest / 2
    lowest = np.where(near & (loss > 0), lowest, np.nan)  # a run that diverged bends it below 0
    curves = np.stack(
        [curvature, slope - 2 * curvature * middle, height - slope * middle + curvature * middle**2], axis=1
    )
    return middle + lowest, np.where(np.isnan(lowest), np.nan, loss), curves
