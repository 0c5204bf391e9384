"""The lower envelope of training curves: Chinchilla's first approach (Hoffmann et al., 2022, section 3.1).

At each of many FLOP counts, the run whose curve is lowest there says which size is best. It needs runs
with several points each (a ``run`` column), since what a training reached at its end says nothing of its
way. Rates that decay by a schedule longer than the point make such points worse than a run that ended
there: the known weakness of this approach.
"""

from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.observations import Observations
from t5lite.scaling.power_law import BestSizes, fit_power_law

_NUM_COSTS = 1500
"""FLOP counts, spaced evenly in logarithms, as the paper has them."""


@dataclass(frozen=True, kw_only=True)
class EnvelopeFit(BestSizes):
    """The laws through the runs that are lowest somewhere.

    Attributes:
      num_runs: with curves.
      num_lowest: of them, those that are lowest at some cost.
    """

    num_runs: int
    num_lowest: int


def fit_envelope(observations: Observations) -> EnvelopeFit:
    """Fit the sizes of the runs that are lowest at each cost.

    Raises:
      DataError: without curves of two sizes or more, or where fewer than two sizes are lowest anywhere.
    """
    curves = _curves(observations)
    if len(curves) < 2:
        raise DataError(
            "the envelope needs curves: a column of run names, and several points of two runs or more"
        )
    low = min(curve.flops.min() for curve in curves)
    high = max(curve.flops.max() for curve in curves)
    costs = np.geomspace(low, high, _NUM_COSTS)
    losses = np.stack([_interpolated(curve, costs, curve.loss) for curve in curves])
    shared = np.isfinite(losses).sum(axis=0) > 1  # a curve alone is lowest for want of others
    if not shared.any():
        raise DataError("no two training curves reach the same FLOPs; the envelope needs some that overlap")
    best = np.argmin(losses[:, shared], axis=0)
    costs = costs[shared]
    params = np.array([np.median(curve.params) for curve in curves])[best]
    tokens = np.stack([_interpolated(curve, costs, curve.tokens) for curve in curves])
    if len(np.unique(params)) < 2:
        raise DataError("one size is lowest at every cost that curves share; the envelope needs two or more")
    return EnvelopeFit(
        num_runs=len(curves),
        num_lowest=len(np.unique(best)),
        tokens=fit_power_law(costs, tokens[best, np.arange(len(costs))]),
        params=fit_power_law(costs, params),
    )


def _curves(observations: Observations) -> list[Observations]:
    """Return the points of each run that has several, by FLOPs."""
    if observations.runs is None:
        return []
    curves = []
    for name in np.unique(observations.runs):
        curve = observations.take(observations.runs == name)
        _, first = np.unique(curve.flops, return_index=True)
        if len(first) > 1:
            curves.append(curve.take(first))
    return curves


def _interpolated(curve: Observations, costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return values of a curve at costs, straight between logarithms; infinite outside of it."""
    logs = np.interp(np.log(costs), np.log(curve.flops), np.log(values), left=np.inf, right=np.inf)
    return np.exp(logs)
