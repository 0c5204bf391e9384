"""Chinchilla's formula by least squares without starts, and intervals by its likelihood.

Once alpha and beta are chosen, the loss is linear in E, A and B, which non-negative least squares gives
exactly: two numbers are left to search, and no start decides where it ends (variable projection, Golub
and Pereyra, 1973). Errors are relative ones, (L - fit) / L, which are errors of ln L to first order.
Unlike the Huber fit every run counts with its square, which is best for errors that are normal, and lets
one bad run move everything.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import fdtri

from t5lite.scaling.intervals import Interval
from t5lite.scaling.laws import Centre, ChinchillaLaw
from t5lite.scaling.likelihood import extreme
from t5lite.scaling.observations import Cost, Observations
from t5lite.scaling.parametric import LawFit, check_determined

_LAW = ChinchillaLaw()
_EXPONENTS = np.geomspace(0.02, 3.0, 12)
_SMALLEST, _LARGEST = 1e-3, 10.0
"""Of an exponent; beyond, the data say nothing of it."""
_BOX = (
    np.array([-14.0, -14.0, -14.0, *np.log([_SMALLEST] * 2)]),
    np.array([5.0, 5.0, 5.0, *np.log([_LARGEST] * 2)]),
)
"""Of theta: where ends of intervals are looked for; e^-14 of the lowest loss is nothing."""
_FURTHEST = 100.0
"""Of logarithms of terms."""
_ASTRAY = 0.01
"""Relative to a number, by which the end of a search is on its wrong side, so that it is none."""
_INWARD = 1e-3
"""Of theta, from an end of the box, to see whether a number still changes there."""
_MOVING = 0.05
"""Of that change, relative to the number and the step: more, and the number goes on beyond the box."""


@dataclass(frozen=True)
class Projection:
    """The least sum of squared relative errors, for given exponents."""

    observations: Observations
    centre: Centre

    def amounts(self, alpha: float, beta: float) -> tuple[float, np.ndarray]:
        """Return the sum, and E, A and B of centred sizes, [3]."""
        design = np.stack([np.ones(len(self.observations)), *self._powers(alpha, beta)], axis=1)
        loss = self.observations.loss
        try:
            amounts, norm = nnls(design / loss[:, None], np.ones(len(loss)))
        except RuntimeError:  # of columns that are nearly the same
            return np.inf, np.zeros(3)
        return float(norm**2), amounts

    def _powers(self, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
        n = np.log(self.observations.params / self.centre.params)
        d = np.log(self.observations.tokens / self.centre.tokens)
        # Sizes that differ by many orders of magnitude would overflow under exponents that a search tries.
        return np.exp(np.clip(-alpha * n, -_FURTHEST, _FURTHEST)), np.exp(
            np.clip(-beta * d, -_FURTHEST, _FURTHEST)
        )


def fit_projected(observations: Observations) -> LawFit:
    """Fit Chinchilla's formula by least squares of relative errors.

    Raises:
      DataError: if there are too few runs for its five constants.
    """
    check_determined(_LAW, observations)
    centre = Centre.of(observations)
    projection = Projection(observations, centre)
    grid = [(alpha, beta) for alpha in _EXPONENTS for beta in _EXPONENTS]
    start = min(grid, key=lambda pair: projection.amounts(*pair)[0])
    found = _least(lambda logs: projection.amounts(*_exponents(logs))[0], np.log(start))
    exponents = _exponents(found)
    squares, amounts = projection.amounts(*exponents)
    with np.errstate(divide="ignore"):  # an amount of 0 is ln 0, which the formula takes
        theta = np.concatenate([np.log(amounts / centre.loss), np.log(exponents)])
    fitted, slopes = _LAW.log_loss(theta, observations.params, observations.tokens, centre)
    return LawFit(
        law=_LAW,
        theta=theta,
        centre=centre,
        cost=Cost.of(observations),
        objective=squares,
        ends_alike=1,
        followed=1,
        residuals=np.log(observations.loss) - fitted,
        condition=float(np.linalg.cond(slopes)),
    )


def likelihood_intervals(
    fit: LawFit,
    observations: Observations,
    numbers: Callable[[np.ndarray], dict[str, float]],
    *,
    level: float,
) -> dict[str, Interval]:
    """Return intervals of whatever follows from the constants, by likelihood ratios.

    A value is inside where the least sum of squares with it held is at most ``1 + F / (P - 5)`` times the
    least of all (F of 1 and P - 5 degrees of freedom): exact for a linear formula with normal errors of
    unknown size. An end that the data do not bound is what no such number is beyond: 0, infinity, of
    exponents of the best sizes what both terms being there allows. A number of which an end is not found
    has no interval.

    Args:
      fit: by least squares.
      observations: that were fitted.
      numbers: by name, of theta.
      level: of the intervals.
    """
    freedom = len(observations) - _LAW.num_constants
    limit = fit.objective * (1 + float(fdtri(1, freedom, level)) / freedom)

    def errors(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):  # what is not finite is no way
            logs, slopes = _LAW.log_loss(theta, observations.params, observations.tokens, fit.centre)
            fitted = np.exp(logs) / observations.loss
            return 1 - fitted, -fitted[:, None] * slopes

    def end(name: str, sign: float) -> float | None:
        if best[name] <= 0 and sign < 0:
            return 0.0
        theta = extreme(
            lambda theta: numbers(theta).get(name), errors, start=fit.theta, limit=limit, sign=sign, box=_BOX
        )
        if theta is None:
            return None
        value, begun = numbers(theta)[name], numbers(np.clip(fit.theta, *_BOX)).get(name, best[name])
        if sign * (value - begun) < -_ASTRAY * abs(begun):
            return None
        ends = (theta <= _BOX[0]) | (theta >= _BOX[1])
        ends[3:] |= theta[1:3] <= _BOX[0][1:3]  # the exponent of a term that is nothing may be any
        for place in np.flatnonzero(ends):
            step = _INWARD * np.eye(len(theta))[place] * (1 if theta[place] <= _BOX[0][place] else -1)
            if abs(numbers(theta + step).get(name, np.inf) - value) > _MOVING * _INWARD * abs(value):
                return 0.0 if sign < 0 else highest.get(name, np.inf)
        # The search begins at the fit, but for what it takes for 0.
        return min(value, best[name]) if sign < 0 else max(value, best[name])

    best = numbers(fit.theta)
    highest = {"N exponent": 1 / (1 + fit.cost.excess), "D exponent": 1.0}
    found = {name: (end(name, -1), end(name, 1)) for name in best}
    return {
        name: Interval(low=low, high=high, level=level)
        for name, (low, high) in found.items()
        if low is not None and high is not None
    }


def _exponents(logs: np.ndarray) -> np.ndarray:
    return np.clip(np.exp(np.clip(logs, -20, 20)), _SMALLEST, _LARGEST)


def _least(function: Callable[[np.ndarray], float], start: np.ndarray) -> np.ndarray:
    options = {"xatol": 1e-7, "fatol": 0.0, "maxiter": 1000}
    simplex = np.asarray(start) + np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
    return minimize(function, start, method="Nelder-Mead", options=options | {"initial_simplex": simplex}).x
