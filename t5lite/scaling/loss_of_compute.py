"""What a well-spent budget reaches: ``L = E + k / C^gamma`` through the optima of isoFLOP profiles."""

from dataclasses import dataclass

import numpy as np

FEWEST_OPTIMA = 4
_EXPONENTS = (0.005, 1.0)
_NARROWINGS = 32
"""By a golden section each, of logarithms of exponents: to 1e-6."""
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class LossOfCompute:
    """The least loss over FLOPs.

    Attributes:
      floor: E, that stays.
      amount: k at ``flops``.
      exponent: gamma.
      flops: by which FLOPs are divided.
    """

    floor: float
    amount: float
    exponent: float
    flops: float

    def __call__(self, flops: float) -> float:
        """Return the least loss of so many FLOPs."""
        return float(self.floor + self.amount * (flops / self.flops) ** -self.exponent)


def fit_loss_of_compute(flops: np.ndarray, losses: np.ndarray) -> list[LossOfCompute] | None:
    """Return the law of least squares of each row of ``losses`` [R, G] at ``flops`` [G].

    None with fewer optima than four, which leave no error to see.
    """
    if len(flops) < FEWEST_OPTIMA:
        return None
    middle = float(np.exp(np.mean(np.log(flops))))

    def amounts(log_exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _amounts((flops / middle) ** -np.exp(log_exponents[:, None]), losses)

    low, high = (np.full(len(losses), np.log(end)) for end in _EXPONENTS)
    for _ in range(_NARROWINGS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        is_left = amounts(left)[2] <= amounts(right)[2]
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
    floors, each, _ = amounts((low + high) / 2)
    exponents = np.exp((low + high) / 2)
    return [
        LossOfCompute(floor=floor, amount=amount, exponent=exponent, flops=middle)
        for floor, amount, exponent in zip(floors.tolist(), each.tolist(), exponents.tolist(), strict=True)
    ]


def _amounts(powers: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return floors and amounts [R], none below 0, of least squares, and these, of powers [R, G]."""
    middle, mean = powers.mean(axis=1), losses.mean(axis=1)
    slopes = powers - middle[:, None]
    falling = np.sum(slopes * losses, axis=1) / np.sum(slopes**2, axis=1)
    alone = np.sum(powers * losses, axis=1) / np.sum(powers**2, axis=1)
    ways = [(mean - falling * middle, falling), (np.zeros_like(mean), alone), (mean, np.zeros_like(mean))]
    floors, each = np.array(ways).transpose(1, 0, 2)
    squares = np.sum((floors[..., None] + each[..., None] * powers - losses) ** 2, axis=2)
    best = np.argmin(np.where((floors >= 0) & (each >= 0), squares, np.inf), axis=0)
    rows = np.arange(len(losses))
    return floors[best, rows], each[best, rows], squares[best, rows]
