"""Straight lines through logarithms."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """``coefficient * x ** exponent``."""

    coefficient: float
    exponent: float

    def __call__(self, x: float) -> float:
        """Return y."""
        with np.errstate(over="ignore", divide="ignore"):
            return float(np.exp(np.log(self.coefficient) + self.exponent * np.log(x)))


def fit_power_law(x: np.ndarray, y: np.ndarray) -> PowerLaw:
    """Return the law of least squared errors of ``ln y``; two points or more."""
    return fit_power_laws(x, np.log(y)[None])[0]


def fit_power_laws(x: np.ndarray, logs: np.ndarray) -> list[PowerLaw]:
    """Return the law of each row of ``logs`` [R, P] at ``x`` [P]."""
    exponents, logarithms = np.polyfit(np.log(x), logs.T, 1)
    with np.errstate(over="ignore"):  # of a resample whose optima lie nowhere
        coefficients = np.exp(logarithms)
    return [PowerLaw(*each) for each in zip(coefficients.tolist(), exponents.tolist(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class BestSizes:
    """What is best to train, over FLOPs.

    Attributes:
      tokens: law of the best tokens.
      params: law of the best parameters.
    """

    tokens: PowerLaw
    params: PowerLaw

    @property
    def numbers(self) -> dict[str, float]:
        """What intervals are wanted of."""
        return {"N exponent": self.params.exponent, "D exponent": self.tokens.exponent}
