"""Chinchilla's formula by least squares without starts, and intervals by its profile likelihood.

Once alpha and beta are chosen, the loss is linear in E, A and B, which non-negative least squares gives
exactly: two numbers are left to search, and no start decides where it ends (variable projection, Golub
and Pereyra, 1973). Errors are relative ones, (L - fit) / L, which are errors of ln L to first order.
Unlike the Huber fit every run counts with its square, which is best for errors that are normal, and lets
one bad run move everything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize, minimize_scalar, nnls
from scipy.special import fdtri

from t5lite.core.errors import DataError
from t5lite.scaling.intervals import Interval
from t5lite.scaling.laws import Centre, ChinchillaLaw
from t5lite.scaling.observations import Cost, Observations
from t5lite.scaling.parametric import LawFit

_LAW = ChinchillaLaw()
_EXPONENTS = np.geomspace(0.02, 3.0, 12)
_SMALLEST, _LARGEST = 1e-3, 10.0
"""Of an exponent; beyond, the data say nothing of it."""
_CLOSE = 1e-3
"""How exactly the ends of intervals are found, relative."""
_FURTHEST = 100.0
"""Of logarithms of terms."""


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

    def with_floor(self, floor: float, alpha: float, beta: float) -> float:
        """Return the sum with E given."""
        loss = self.observations.loss
        design = np.stack(self._powers(alpha, beta), axis=1)
        try:
            return float(nnls(design / loss[:, None], 1 - floor / loss)[1] ** 2)
        except RuntimeError:
            return np.inf

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
    if len(observations) <= _LAW.num_constants:
        raise DataError(f"{len(observations)} runs do not determine the {_LAW.num_constants} constants")
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


def profile_intervals(fit: LawFit, observations: Observations, *, level: float) -> dict[str, Interval]:
    """Return intervals of alpha, beta, E and the exponents of the best sizes, by likelihood ratios.

    A value is inside where the least sum of squares with it held is at most ``1 + F / (P - 5)`` times the
    least of all (F of 1 and P - 5 degrees of freedom): exact for a linear formula with normal errors of
    unknown size. An end that the data do not bound is infinite, or 0 (of
    the share, 0 or 1; of E, 0 or the highest loss).
    """
    projection = Projection(observations, fit.centre)
    freedom = len(observations) - _LAW.num_constants
    limit = fit.objective * (1 + float(fdtri(1, freedom, level)) / freedom)
    alpha, beta = np.exp(fit.theta[3:])

    def alpha_held(value: float) -> float:
        return _least_of_one(lambda other: projection.amounts(value, np.exp(other))[0], np.log(beta))

    def beta_held(value: float) -> float:
        return _least_of_one(lambda other: projection.amounts(np.exp(other), value)[0], np.log(alpha))

    def share_held(share: float) -> float:  # of beta in alpha + beta: the exponent of the best parameters
        both = np.log(alpha + beta)
        return _least_of_one(
            lambda total: projection.amounts(np.exp(total) * (1 - share), np.exp(total) * share)[0], both
        )

    def floor_held(floor: float) -> float:
        logs = _least(
            lambda logs: projection.with_floor(floor, *_exponents(logs)), fit.theta[3:], close=_CLOSE
        )
        return projection.with_floor(floor, *_exponents(logs))

    exponents = _Range(_SMALLEST, _LARGEST, 0, np.inf)
    floor = fit.constants["E"]
    highest = float(observations.loss.max())  # E is above some losses where runs scatter
    share = _crossings(share_held, limit, beta / (alpha + beta), _Range(1e-3, 1 - 1e-3, 0, 1), level)
    return {
        "alpha": _crossings(alpha_held, limit, alpha, exponents, level),
        "beta": _crossings(beta_held, limit, beta, exponents, level),
        "E": _crossings(floor_held, limit, floor, _Range(0, highest * (1 - 1e-9), 0, highest), level),
        **_best_sizes(share, fit.cost.excess),
    }


def _best_sizes(share: Interval, excess: float) -> dict[str, Interval]:
    """Return intervals of both exponents, of that of beta in alpha + beta.

    Where N costs with a power of 1 + excess, the slopes of the loss are equal at
    ``alpha ln N = beta ln D + constant`` with ``ln D = ln C - (1 + excess) ln N``.
    """
    low, high = (each / (1 + excess * each) for each in (share.low, share.high))
    return {
        "N exponent": Interval(low=low, high=high, level=share.level),
        "D exponent": Interval(low=1 - (1 + excess) * high, high=1 - (1 + excess) * low, level=share.level),
    }


def _exponents(logs: np.ndarray) -> np.ndarray:
    return np.clip(np.exp(np.clip(logs, -20, 20)), _SMALLEST, _LARGEST)


def _least(function: Callable[[np.ndarray], float], start: np.ndarray, *, close: float = 1e-7) -> np.ndarray:
    options = {"xatol": close, "fatol": 0.0, "maxiter": 1000}
    simplex = np.asarray(start) + np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
    return minimize(function, start, method="Nelder-Mead", options=options | {"initial_simplex": simplex}).x


def _least_of_one(function: Callable[[float], float], middle: float) -> float:
    """Return the least value near ``middle``, in logarithms."""
    found: Any = minimize_scalar(
        function, bounds=(middle - 2.5, middle + 2.5), method="bounded", options={"xatol": 1e-3}
    )
    return float(found.fun)


class _Range(NamedTuple):
    """Where an end is looked for, and what it is where it is not found."""

    low: float
    high: float
    without_low: float
    without_high: float


def _crossings(
    held: Callable[[float], float], limit: float, best: float, within: _Range, level: float
) -> Interval:
    """Return where ``held`` passes ``limit`` to either side of ``best``."""
    limit = max(limit, held(best))  # which a search finds less exactly than the fit did

    def end(edge: float, otherwise: float) -> float:
        if held(edge) <= limit:
            return otherwise
        inside, step = best, 0.02 * (edge - best)  # few intervals reach as far as the edge
        while held(inside + step) <= limit and abs(inside + step - best) < abs(edge - best):
            inside, step = inside + step, 2 * step
        outside = inside + step if abs(inside + step - best) < abs(edge - best) else edge
        root: Any = brentq(lambda value: held(value) - limit, inside, outside, xtol=max(_CLOSE * best, 1e-6))
        return float(root)

    return Interval(
        low=end(within.low, within.without_low), high=end(within.high, within.without_high), level=level
    )
