"""Formulas of the loss over parameters and tokens, as functions of unbounded numbers, with derivatives.

A formula is a value with no state. ``theta`` [K] is what a fit moves: logarithms of amounts and of exponents,
so that whatever it is, amounts and exponents are positive. Sizes are divided by their geometric means first,
without which the constants of a formula are so nearly the same direction that no optimizer tells them apart.
Many fits are one array: whatever takes ``theta`` takes [R, K], too.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from t5lite.scaling.observations import Observations


@dataclass(frozen=True, kw_only=True)
class Centre:
    """By what sizes are divided: parameters, tokens, loss."""

    params: float
    tokens: float
    loss: float

    @classmethod
    def of(cls, observations: Observations) -> "Centre":
        """Return the geometric means of a table."""
        means = (np.exp(np.mean(np.log(of))) for of in (observations.params, observations.tokens))
        params, tokens = means
        return cls(params=float(params), tokens=float(tokens), loss=float(observations.loss.min()))


class LossLaw(ABC):
    """A formula of the loss L(N, D)."""

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    num_constants: ClassVar[int]

    @abstractmethod
    def log_loss(
        self, theta: np.ndarray, params: np.ndarray, tokens: np.ndarray, centre: Centre
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ln L, [..., P], and its derivatives by theta, [..., P, K], of theta [..., K]."""

    @abstractmethod
    def terms(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how what parameters and what tokens take away falls, for theta [..., K].

        Returns:
          ln of the two terms at the centre, [..., 2], and their exponents, [..., 2]; the loss rises with
          their sum.
        """

    @abstractmethod
    def starts(self) -> np.ndarray:
        """Return where fits begin, [S, K]."""

    @abstractmethod
    def constants(self, theta: np.ndarray, centre: Centre) -> dict[str, float]:
        """Return the formula's constants by name, in the units of the table."""

    def of_compute(self, theta: np.ndarray, *, exponent: float) -> dict[str, float]:
        """Return the exponent of the best loss over FLOPs by name; none where it is no power of them.

        Args:
          theta: [K].
          exponent: of the best parameters over FLOPs.
        """
        del theta, exponent
        return {}

    def limits(self, numbers: Mapping[str, float]) -> list[str]:
        """Say what the formula, of these constants and exponents, is where one size does not limit."""
        del numbers
        return []


class ChinchillaLaw(LossLaw):
    """An amount that stays, and one each that parameters and tokens take away."""

    name = "chinchilla"
    formula = "L = E + A / N^alpha + B / D^beta"
    source = "Hoffmann et al., 2022, equation 2"
    num_constants = 5

    def log_loss(
        self, theta: np.ndarray, params: np.ndarray, tokens: np.ndarray, centre: Centre
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ln L and derivatives; theta is ln E, ln A, ln B of centred sizes, ln alpha, ln beta."""
        n, d = np.log(params / centre.params), np.log(tokens / centre.tokens)
        stays, of_params, of_tokens = (theta[..., place, None] for place in range(3))
        alpha, beta = np.exp(theta[..., 3, None]), np.exp(theta[..., 4, None])
        terms = np.stack([stays + 0 * n, of_params - alpha * n, of_tokens - beta * d])
        shares, both = _shares(terms)
        slopes = np.stack([*shares, -shares[1] * alpha * n, -shares[2] * beta * d], axis=-1)
        return np.log(centre.loss) + both, slopes

    def terms(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return them."""
        return theta[..., 1:3], np.exp(theta[..., 3:])

    def starts(self) -> np.ndarray:
        """Return what stays (share of the lowest loss), how the rest is divided, and exponents, every way."""
        grid = product((0.1, 0.5, 0.9), (0.2, 0.5, 0.8), (0.1, 0.25, 0.5, 1.0), (0.1, 0.25, 0.5, 1.0))
        return np.log(
            [
                (stays, (1 - stays) * of_params, (1 - stays) * (1 - of_params), alpha, beta)
                for stays, of_params, alpha, beta in grid
            ]
        )

    def constants(self, theta: np.ndarray, centre: Centre) -> dict[str, float]:
        """Return E, A, B, alpha and beta."""
        with np.errstate(over="ignore"):
            stays, of_params, of_tokens, alpha, beta = np.exp(theta)
            return {
                "E": float(centre.loss * stays),
                "A": float(centre.loss * of_params * np.float64(centre.params) ** alpha),
                "B": float(centre.loss * of_tokens * np.float64(centre.tokens) ** beta),
                "alpha": float(alpha),
                "beta": float(beta),
            }


class KaplanLaw(LossLaw):
    """Nothing stays: with parameters and tokens without end the loss goes to 0."""

    name = "kaplan"
    formula = "L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D"
    source = "Kaplan et al., 2020, equation 1.5"
    num_constants = 4

    def log_loss(
        self, theta: np.ndarray, params: np.ndarray, tokens: np.ndarray, centre: Centre
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ln L and derivatives; theta is ln of the two terms at the centre, ln alpha_N, ln alpha_D."""
        n, d = np.log(params / centre.params), np.log(tokens / centre.tokens)
        of_params, of_tokens = theta[..., 0, None], theta[..., 1, None]
        alpha_n, alpha_d = np.exp(theta[..., 2, None]), np.exp(theta[..., 3, None])
        terms = np.stack([of_params - alpha_n / alpha_d * n, of_tokens - d])
        shares, both = _shares(terms)
        by_ratio = -shares[0] * alpha_n * n  # alpha_d times the derivative by ln(alpha_n / alpha_d)
        slopes = np.stack(
            [alpha_d * shares[0], alpha_d * shares[1], by_ratio, alpha_d * both - by_ratio], axis=-1
        )
        return np.log(centre.loss) + alpha_d * both, slopes

    def terms(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return them."""
        ratio = np.exp(theta[..., 2] - theta[..., 3])
        return theta[..., :2], np.stack([ratio, np.ones_like(ratio)], axis=-1)

    def starts(self) -> np.ndarray:
        """Return the two terms and both exponents, every way."""
        grid = product((0.2, 1.0, 5.0), (0.2, 1.0, 5.0), (0.04, 0.1, 0.25, 0.5), (0.04, 0.1, 0.25, 0.5))
        return np.log(list(grid))

    def constants(self, theta: np.ndarray, centre: Centre) -> dict[str, float]:
        """Return N_c, D_c, alpha_N and alpha_D."""
        alpha_n, alpha_d = np.exp(theta[2:])
        scale = np.log(centre.loss) / alpha_d  # of both terms, in which the centre's loss is kept
        with np.errstate(over="ignore"):  # of runs that do not depend on a size
            return {
                "N_c": float(centre.params * np.exp((theta[0] + scale) * alpha_d / alpha_n)),
                "D_c": float(centre.tokens * np.exp(theta[1] + scale)),
                "alpha_N": float(alpha_n),
                "alpha_D": float(alpha_d),
            }

    def of_compute(self, theta: np.ndarray, *, exponent: float) -> dict[str, float]:
        """Return alpha_C: at the best sizes both terms, and so ln L, fall alike, and N^-alpha_N with L.

        It is 1 / (1 / alpha_N + 1 / alpha_D) where C is 6 N D. Kaplan et al.'s alpha_C^min (equation 1.8) has
        the steps and the batch of runs that were stopped early in the place of the tokens.
        """
        return {"alpha_C": float(np.exp(theta[2])) * exponent}

    def limits(self, numbers: Mapping[str, float]) -> list[str]:
        """Say equations 1.1 and 1.2, and how the loss of the best size falls with the table's FLOPs."""
        of_params = f"L(N) = ({numbers['N_c']:.3g} / N)^{numbers['alpha_N']:.3g} with tokens without end"
        of_tokens = f"L(D) = ({numbers['D_c']:.3g} / D)^{numbers['alpha_D']:.3g} with parameters without end"
        if "alpha_C" not in numbers:
            return [f"{of_params}, {of_tokens}"]
        of_compute = f"the loss of the best size falls with C^-{numbers['alpha_C']:.3g}"
        return [f"{of_params}, {of_tokens}; {of_compute}, the C of this table"]


def _shares(terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the softmax over the first axis, and the logarithm of the sum of exponentials."""
    highest = terms.max(axis=0)
    exponentials = np.exp(terms - highest)
    total = exponentials.sum(axis=0)
    return exponentials / total, highest + np.log(total)


LAWS: dict[str, LossLaw] = {law.name: law for law in (ChinchillaLaw(), KaplanLaw())}
