"""Ends of likelihood intervals of anything that follows from a formula's constants.

An interval by likelihood ratio of a number ``g(theta)`` goes from its least to its largest value where the
sum of squares is at most a limit. Venzon and Moolgavkar (1988) find these ends by Newton's method on
the conditions that hold there; here the sum is taken as that of the formula's tangent (Gauss and Newton's
Hessian), whose extreme has a closed form, again and again from where the last one was.
"""

from collections.abc import Callable

import numpy as np

_STEPS = 400
_LONGEST = 0.5
"""Of a step, in the largest of its parts."""
_DONE = 1e-6
_DAMPED_FROM = 10
"""Steps, after which those that swing are halved."""
_WIGGLE = 1e-5

Errors = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of theta [K], errors [P] and their derivatives [P, K]."""


def extreme(
    number: Callable[[np.ndarray], float | None],
    errors: Errors,
    *,
    start: np.ndarray,
    limit: float,
    sign: float,
    box: tuple[np.ndarray, np.ndarray],
) -> np.ndarray | None:
    """Return theta [K] where ``sign * number`` is largest within ``limit``; None if that is not found.

    Args:
      number: what an interval is of; None where there is none.
      errors: whose sum of squares is limited.
      start: [K], of the least sum.
      limit: of the sum.
      sign: 1 of the upper end, -1 of the lower.
      box: lowest and highest theta, [K] each, at which the search stays.
    """
    theta, last, damp = np.clip(start, *box), None, 1.0
    for step in range(_STEPS):
        left, slopes = errors(theta)
        uphill = _gradient(number, theta)
        if uphill is None or not (np.isfinite(left).all() and np.isfinite(slopes).all()):
            return None
        uphill *= sign
        free = np.ones(len(theta), bool)
        while True:
            way = _way(left, slopes[:, free], uphill[free], limit)
            if way is None:
                return None
            whole = np.zeros(len(theta))
            whole[free] = way
            out = free & (((theta <= box[0]) & (whole < 0)) | ((theta >= box[1]) & (whole > 0)))
            if not out.any():
                break
            free &= ~out
        if np.abs(whole).max() < _DONE:
            return theta
        if step > _DAMPED_FROM and last is not None and whole @ last < 0:
            damp = max(damp / 2, 1 / 64)
        last = whole
        whole = damp * whole * min(1.0, _LONGEST / np.abs(damp * whole).max())
        theta = np.clip(theta + whole, *box)
    return None


def _gradient(number: Callable[[np.ndarray], float | None], theta: np.ndarray) -> np.ndarray | None:
    steps = _WIGGLE * np.eye(len(theta))
    values = [[number(theta + step), number(theta - step)] for step in steps]
    after, before = np.array(values, float).T  # of nothing, not a number
    slopes = (after - before) / (2 * _WIGGLE)
    return slopes if np.isfinite(slopes).all() else None


def _way(left: np.ndarray, slopes: np.ndarray, uphill: np.ndarray, limit: float) -> np.ndarray | None:
    """Return the step furthest uphill where the tangent's sum is ``limit``; to its least, if that is more."""
    if not slopes.shape[1]:
        return np.zeros(0)
    sizes = np.maximum(np.linalg.norm(slopes, axis=0), 1e-12)
    basis, triangle = np.linalg.qr(slopes / sizes)
    if np.abs(np.diag(triangle)).min() < 1e-12:
        return None
    shadow = basis.T @ left
    least = float(left @ left - shadow @ shadow)
    toward = np.linalg.solve(triangle.T, uphill / sizes)
    length = np.linalg.norm(toward)
    if length == 0:
        return np.linalg.solve(triangle, -shadow) / sizes
    reach = np.sqrt(max(limit - least, 0.0)) / length
    return np.linalg.solve(triangle, -shadow + reach * toward) / sizes
