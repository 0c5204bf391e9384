"""Fits of a formula L(N, D) to all runs at once: Chinchilla's third approach, and its form without a grid.

``fit_law`` minimises the Huber loss of ln L, which is quadratic for runs within ``delta`` of the curve
and linear beyond, so that a run that went wrong pulls no harder than others (Hoffmann et al., 2022,
equation 3; delta 1e-3). All of a grid of starts are tried, and the best are followed by BFGS with exact
derivatives; the sum is divided by delta, since a tolerance that is larger than the sum itself ended
published fits too early (Besiroglu et al., 2024).
"""

from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.laws import Centre, LossLaw
from t5lite.scaling.minimization import Objective, minimize_all
from t5lite.scaling.observations import Cost, Observations

DELTA = 1e-3
_FOLLOWED = 12
_MORE_STARTS = 2
_NUMBERS_AT_ONCE = 3_000_000
"""Of arrays, so that starts and resamples of large tables fit into memory."""
_SAME_OPTIMUM = 1e-3
"""Of the objective, relative: two ends that differ by less are one."""
_ALIKE = 0.05
"""Of logarithms; where all runs differ by less, they are of one size or budget."""
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
        """Return the best parameters and tokens for so many FLOPs, and the loss; None if no size is best.

        Both terms are straight lines of ln N at a given cost, and the loss is lowest where the one falls as
        fast as the other rises.
        """
        (of_params, of_tokens), (alpha, beta) = self.law.terms(self.theta)
        # Where tokens and parameters keep the table's ratio, and how far the best is from there.
        ratio = self.centre.tokens / self.centre.params
        middle = self.cost.params(flops, tokens_per_parameter=ratio)
        tokens = self.cost.tokens(flops, np.array(middle))
        dearer = 1 + self.cost.excess
        with np.errstate(all="ignore"):  # of terms that are nothing
            falls = of_params - alpha * np.log(middle / self.centre.params) + np.log(alpha)
            rises = of_tokens - beta * np.log(tokens / self.centre.tokens) + np.log(beta * dearer)
            away = (falls - rises) / (alpha + beta * dearer)
        if not abs(away) <= _WIDEST:
            return None
        params = np.exp(np.log(middle) + away)
        tokens = self.cost.tokens(flops, params)
        return float(params), float(tokens), float(self.loss(np.array([params]), np.array([tokens]))[0])

    @property
    def numbers(self) -> dict[str, float]:
        """What intervals are wanted of: the constants, and the exponents of the best sizes."""
        return self.constants | self.exponents()

    def exponents(self) -> dict[str, float]:
        """Return exponents of the best parameters, tokens (and loss) over FLOPs, if any size is best."""
        if self.optimum(self.cost.flops(self.centre.params, self.centre.tokens)) is None:
            return {}
        alpha, beta = self.law.terms(self.theta)[1]
        of_params = float(beta / (alpha + beta * (1 + self.cost.excess)))
        sizes = {"N exponent": of_params, "D exponent": 1 - (1 + self.cost.excess) * of_params}
        return sizes | self.law.of_compute(self.theta, exponent=of_params)


def fit_law(law: LossLaw, observations: Observations, *, delta: float = DELTA) -> LawFit:
    """Fit a formula by the Huber loss of ln L.

    Args:
      law: the formula.
      observations: more runs than it has constants, of several sizes.
      delta: of ln L, beyond which an error counts linearly.

    Raises:
      DataError: if there are too few runs for it.
    """
    check_determined(law, observations)
    centre = Centre.of(observations)
    objective = _huber(law, observations, centre, delta=delta)
    starts = law.starts()
    values, _ = objective(starts, np.zeros(len(starts), int))
    starts = starts[np.argsort(values, kind="stable")[:_FOLLOWED]]
    ends, values = minimize_all(objective, starts)
    theta, value = ends[np.argmin(values)], float(values.min())
    fitted, slopes = law.log_loss(theta, observations.params, observations.tokens, centre)
    return LawFit(
        law=law,
        theta=theta,
        centre=centre,
        cost=Cost.of(observations),
        objective=value,
        ends_alike=int(np.sum(values <= value * (1 + _SAME_OPTIMUM) + 1e-9)),
        followed=len(ends),
        residuals=np.log(observations.loss) - fitted,
        condition=float(np.linalg.cond(slopes)),
    )


def check_determined(law: LossLaw, observations: Observations) -> None:
    """Raise a DataError for runs of which no formula of both sizes can be told: too few, or all alike."""
    if len(observations) <= law.num_constants:
        raise DataError(
            f"{law.name} has {law.num_constants} constants; {len(observations)} runs do not determine them"
        )
    for name in ("params", "tokens", "flops"):
        logs = np.log(getattr(observations, name))
        if np.ptp(logs) < _ALIKE:
            raise DataError(
                f"all runs have the same {name} ({np.exp(np.mean(logs)):.3g}), of which no law of parameters "
                "and tokens is told"
            )


def refit(
    fit: LawFit, observations: Observations, weights: np.ndarray, *, delta: float = DELTA
) -> np.ndarray:
    """Return what a formula's constants move to, [R, K], where runs count as ``weights`` [R, P] say.

    Each is followed from where the fit ended and from the two of the grid that are best for it: resamples
    of a bootstrap are small steps away, but a Huber loss of a law that does not hold has several hollows.
    """
    grid = np.concatenate([fit.theta[None], fit.law.starts()])
    thetas = np.empty((len(weights), len(fit.theta)))
    at_once = max(1, _NUMBERS_AT_ONCE // ((1 + _MORE_STARTS) * len(observations)))
    for first in range(0, len(weights), at_once):
        part = weights[first : first + at_once]
        values = _start_values(fit, observations, part, grid[1:], delta=delta)
        order = np.argsort(values, axis=1, kind="stable")[:, :_MORE_STARTS]
        starts = np.insert(order + 1, 0, 0, axis=1)
        whose = np.repeat(np.arange(len(part)), starts.shape[1])
        repeated = _huber(fit.law, observations, fit.centre, delta=delta, weights=part[whose])
        ends, values = minimize_all(repeated, grid[starts.ravel()])
        best = np.argmin(values.reshape(starts.shape), axis=1)
        thetas[first : first + at_once] = ends.reshape(*starts.shape, -1)[np.arange(len(part)), best]
    return thetas


def huber(errors: np.ndarray) -> np.ndarray:
    """Return half the squares of errors up to 1, and what rises as steeply as there of larger ones."""
    sizes = np.abs(errors)
    return np.where(sizes <= 1, sizes**2 / 2, sizes - 0.5)


def _start_values(
    fit: LawFit, observations: Observations, weights: np.ndarray, starts: np.ndarray, *, delta: float
) -> np.ndarray:
    """Return the sums [R, S] of resamples at starts [S, K]."""
    logs = np.log(observations.loss)
    at_once = max(1, _NUMBERS_AT_ONCE // len(observations))
    values = []
    for first in range(0, len(starts), at_once):
        theta = starts[first : first + at_once]
        fitted, _ = fit.law.log_loss(theta, observations.params, observations.tokens, fit.centre)
        values.append(weights @ huber((fitted - logs) / delta).T)
    return np.concatenate(values, axis=1)


def _huber(
    law: LossLaw,
    observations: Observations,
    centre: Centre,
    *,
    delta: float,
    weights: np.ndarray | None = None,
) -> Objective:
    """Return the sum of Huber losses; of several problems with a row of ``weights`` [R, P] each."""
    logs = np.log(observations.loss)
    at_once = max(1, _NUMBERS_AT_ONCE // len(observations))

    def of_some(theta: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # A search may try exponents that overflow; it is told that this is no way.
        with np.errstate(all="ignore"):
            fitted, slopes = law.log_loss(theta, observations.params, observations.tokens, centre)
            errors = (fitted - logs) / delta
            weight = 1.0 if weights is None else weights[which]
            values = np.sum(weight * huber(errors), axis=-1)
            slope = np.einsum("rp,rpk->rk", weight * np.clip(errors, -1, 1), slopes) / delta
        good = np.isfinite(values) & np.isfinite(slope).all(axis=-1)
        return np.where(good, values, np.inf), np.where(good[:, None], slope, 0)

    def objective(theta: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [slice(first, first + at_once) for first in range(0, len(theta), at_once)]
        values, slopes = zip(*(of_some(theta[part], which[part]) for part in parts), strict=True)
        return np.concatenate(values), np.concatenate(slopes)

    return objective
