"""Fits of a formula L(N, D) to all runs at once: Chinchilla's third approach, and its form without a grid.

``fit_law`` minimises the Huber loss of ln L, which is quadratic for runs within ``delta`` of the curve
and linear beyond, so that a run that went wrong pulls no harder than others (Hoffmann et al., 2022,
equation 3; delta 1e-3). All of a grid of starts are tried, and the best are followed by BFGS with exact
derivatives; the sum is divided by delta, since a tolerance that is larger than the sum itself ended
published fits too early (Besiroglu et al., 2024).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from t5lite.core.errors import DataError
from t5lite.scaling.laws import Centre, LossLaw
from t5lite.scaling.observations import Cost, Observations

DELTA = 1e-3
_FOLLOWED = 12
_SAME_OPTIMUM = 1e-3
"""Of the objective, relative: two ends that differ by less are one."""
_WIDEST = 14.0
"""Of logarithms: how far from the table's sizes a compute-optimal size is looked for."""


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """A formula with its constants.

    Attributes:
      law: the formula.
      theta: what was moved, [K].
      centre: by what sizes are divided.
      cost: by which tokens follow from FLOPs and parameters.
      objective: the sum that was minimised.
      ends_alike: of the starts that were followed, how many came to this optimum; 1 where one was.
      followed: how many were.
      residuals: ln of measured over fitted loss, [P].
      condition: of the derivatives of ln L by what was moved; large where two constants do nearly the same.
    """

    law: LossLaw
    theta: np.ndarray
    centre: Centre
    cost: Cost
    objective: float
    ends_alike: int
    followed: int
    residuals: np.ndarray
    condition: float

    @property
    def constants(self) -> dict[str, float]:
        """The formula's constants, by name."""
        return self.law.constants(self.theta, self.centre)

    def loss(self, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Return the loss of runs, [P]."""
        return np.exp(self.law.log_loss(self.theta, params, tokens, self.centre)[0])

    def optimum(self, flops: float) -> tuple[float, float, float] | None:
        """Return the best parameters and tokens for so many FLOPs, and the loss; None if no size is best."""

        def loss(log_params: float) -> float:
            params = np.exp(np.array([log_params]))
            tokens = self.cost.tokens(flops, params)
            return float(self.law.log_loss(self.theta, params, tokens, self.centre)[0][0])

        # Where tokens and parameters keep the table's ratio, and far to either side.
        ratio = self.centre.tokens / self.centre.params
        middle = float(np.log(self.cost.params(flops, tokens_per_parameter=ratio)))
        found: Any = minimize_scalar(
            loss, bounds=(middle - _WIDEST, middle + _WIDEST), method="bounded", options={"xatol": 1e-8}
        )
        if abs(found.x - middle) > 0.99 * _WIDEST:  # it only ended where it had to
            return None
        params = np.exp(found.x)
        return float(params), float(self.cost.tokens(flops, params)), float(np.exp(found.fun))

    @property
    def numbers(self) -> dict[str, float]:
        """What intervals are wanted of: the constants, and the exponents of the best sizes."""
        return self.constants | self.exponents()

    def exponents(self) -> dict[str, float]:
        """Return exponents of the best parameters and tokens over FLOPs, at the table's centre, if any is."""
        flops = self.cost.flops(self.centre.params, self.centre.tokens)
        low, high = self.optimum(flops / 2), self.optimum(2 * flops)
        if low is None or high is None:
            return {}
        of_params, of_tokens = (float(np.log(high[size] / low[size]) / np.log(4.0)) for size in (0, 1))
        return {"N exponent": of_params, "D exponent": of_tokens}


def fit_law(
    law: LossLaw, observations: Observations, *, delta: float = DELTA, start: np.ndarray | None = None
) -> LawFit:
    """Fit a formula by the Huber loss of ln L.

    Args:
      law: the formula.
      observations: more runs than it has constants, of several sizes.
      delta: of ln L, beyond which an error counts linearly.
      start: [K], the only one that is followed; None tries the grid.

    Raises:
      DataError: if there are too few runs for it.
    """
    if len(observations) <= law.num_constants:
        raise DataError(
            f"{law.name} has {law.num_constants} constants; {len(observations)} runs do not determine them"
        )
    centre = Centre.of(observations)
    logs = np.log(observations.loss)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        # A search may try exponents that overflow; it is told that this is no way.
        with np.errstate(all="ignore"):
            fitted, slopes = law.log_loss(theta, observations.params, observations.tokens, centre)
            errors = (fitted - logs) / delta
            inner = np.abs(errors) <= 1
            value = float(np.sum(np.where(inner, errors**2 / 2, np.abs(errors) - 0.5)))
            slope = np.clip(errors, -1, 1) @ slopes / delta
        return (value, slope) if np.isfinite(value) and np.isfinite(slope).all() else (np.inf, 0 * theta)

    starts = law.starts() if start is None else start[None]
    if start is None:
        starts = starts[np.argsort([objective(each)[0] for each in starts], kind="stable")[:_FOLLOWED]]
    ends = [minimize(objective, each, jac=True, method="BFGS") for each in starts]
    best = min(ends, key=lambda end: end.fun)
    fitted, slopes = law.log_loss(best.x, observations.params, observations.tokens, centre)
    return LawFit(
        law=law,
        theta=best.x,
        centre=centre,
        cost=Cost.of(observations),
        objective=float(best.fun),
        ends_alike=sum(end.fun <= best.fun * (1 + _SAME_OPTIMUM) + 1e-9 for end in ends),
        followed=len(ends),
        residuals=logs - fitted,
        condition=float(np.linalg.cond(slopes)),
    )
