"""What a well-spent budget reaches: ``L = E + k / C^gamma`` through the optima of isoFLOP profiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar, nnls

FEWEST_OPTIMA = 4
_EXPONENTS = (0.005, 1.0)


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


def fit_loss_of_compute(flops: np.ndarray, loss: np.ndarray) -> LossOfCompute | None:
    """Return the law of least squares; None with fewer optima than four, which leave no error to see."""
    if len(flops) < FEWEST_OPTIMA:
        return None
    middle = float(np.exp(np.mean(np.log(flops))))

    def amounts(log_exponent: float) -> tuple[np.ndarray, float]:
        powers = (flops / middle) ** -np.exp(log_exponent)
        try:
            return nnls(np.stack([np.ones(len(flops)), powers], axis=1), loss)
        except RuntimeError:  # of columns that are nearly the same
            return np.zeros(2), np.inf

    low, high = np.log(_EXPONENTS)
    found: Any = minimize_scalar(lambda each: amounts(each)[1], bounds=(low, high), method="bounded")
    (floor, amount), _ = amounts(found.x)
    return LossOfCompute(
        floor=float(floor), amount=float(amount), exponent=float(np.exp(found.x)), flops=middle
    )
