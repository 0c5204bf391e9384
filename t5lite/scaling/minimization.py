"""Many small smooth problems minimised at once: BFGS, vectorised over problems.

A bootstrap is the same fit some hundred times, and a grid of starts the same one from some dozen places; by
one after the other nearly all time goes into calls on arrays of fifty numbers.
"""

from collections.abc import Callable

import numpy as np

Objective = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of places [R, K] and which problems they are of [R], values [R] and slopes [R, K]."""

_STEPS = 400
_HALVINGS = 30
_FLAT = 1e-5
"""Largest slope at which a problem is done."""
_STILL = 1e-12
"""Relative change of the value, at which it is done, too, if twice in a row."""
_ARMIJO, _WOLFE = 1e-4, 0.9


def minimize_all(objective: Objective, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimise problem r from ``starts[r]``.

    The line search bisects and doubles until the weak Wolfe conditions hold, which keeps BFGS going where
    the slope hardly is continuous, too (Lewis and Overton, 2013), as of a Huber loss with a small delta.

    Args:
      objective: of every problem; infinite where a place is none of it.
      starts: [R, K], where all are finite.

    Returns:
      Ends [R, K], and their values [R].
    """
    ends, (values, slopes) = starts.copy(), objective(starts, np.arange(len(starts)))
    inverses = np.repeat(np.eye(starts.shape[1])[None], len(starts), axis=0)
    still = np.zeros(len(starts), int)
    first = np.ones(len(starts), bool)
    todo = np.flatnonzero(np.isfinite(values))
    for _ in range(_STEPS):
        todo = todo[(np.abs(slopes[todo]).max(axis=1) > _FLAT) & (still[todo] < 2)]
        if not len(todo):
            break
        at, slope, inverse = ends[todo], slopes[todo], inverses[todo]
        ways = -np.einsum("rij,rj->ri", inverse, slope)
        uphill = np.einsum("ri,ri->r", ways, slope) >= 0
        ways[uphill], inverse[uphill] = -slope[uphill], np.eye(starts.shape[1])
        # No curvature is known yet: a first step as long as 1 at most.
        short = first[todo] | uphill
        ways[short] /= np.maximum(1, np.linalg.norm(ways[short], axis=1))[:, None]
        after, value, new = _searched(objective, todo, at, values[todo], slope, ways)
        gained = values[todo] - value
        still[todo] = np.where(gained <= _STILL * np.abs(values[todo]), still[todo] + 1, 0)
        inverses[todo] = _updated(inverse, after - at, new - slope, first[todo])
        first[todo] = False
        ends[todo], values[todo], slopes[todo] = after, value, new
    return ends, values


def _searched(
    objective: Objective,
    which: np.ndarray,
    at: np.ndarray,
    value: np.ndarray,
    slope: np.ndarray,
    ways: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where along its way each is lower and less steep, the value and slope there."""
    along = np.einsum("ri,ri->r", ways, slope)
    low, high, step = np.zeros(len(at)), np.full(len(at), np.inf), np.ones(len(at))
    best, best_value, best_slope = at.copy(), value.copy(), slope.copy()
    todo = np.arange(len(at))
    for _ in range(_HALVINGS):
        place = at[todo] + step[todo, None] * ways[todo]
        values, slopes = objective(place, which[todo])
        too_far = ~(values <= value[todo] + _ARMIJO * step[todo] * along[todo])
        too_near = ~too_far & (np.einsum("ri,ri->r", ways[todo], slopes) < _WOLFE * along[todo])
        lower = ~too_far
        best[todo[lower]], best_value[todo[lower]], best_slope[todo[lower]] = (
            place[lower],
            values[lower],
            slopes[lower],
        )
        high[todo[too_far]] = step[todo[too_far]]
        low[todo[too_near]] = step[todo[too_near]]
        todo = todo[too_far | too_near]
        if not len(todo):
            break
        bounded = np.isfinite(high[todo])
        step[todo] = np.where(bounded, (low[todo] + np.where(bounded, high[todo], 0)) / 2, 2 * step[todo])
    return best, best_value, best_slope


def _updated(inverses: np.ndarray, moved: np.ndarray, turned: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the inverse Hessians after a step; as they were where it shows no curvature."""
    curvature = np.einsum("ri,ri->r", moved, turned)
    convex = curvature > 1e-14 * np.linalg.norm(moved, axis=1) * np.linalg.norm(turned, axis=1)
    convex &= curvature > 0
    scale = np.where(convex, 1 / np.where(convex, curvature, 1), 0.0)
    squares = np.einsum("ri,ri->r", turned, turned)
    fresh = (first & convex)[:, None, None]
    size = np.where(convex, curvature / np.where(squares > 0, squares, 1), 1.0)[:, None, None]
    inverses = np.where(fresh, size * np.eye(moved.shape[1]), inverses)
    left = np.eye(moved.shape[1]) - scale[:, None, None] * moved[:, :, None] * turned[:, None, :]
    both = left @ inverses @ left.transpose(0, 2, 1)
    return both + scale[:, None, None] * moved[:, :, None] * moved[:, None, :]
