"""What tokens are worth that were seen before (Muennighoff et al., 2023, equations 5 and 6).

``L = E + A / N'^alpha + B / D'^beta``, with ``D' = U + U R (1 - exp(-r / R))`` of ``U`` unique tokens,
``r = D / U - 1`` repetitions and a constant ``R``: the first repetitions count nearly as new tokens, and
all there can be count as ``R`` times the unique ones. Parameters beyond those that are best for ``U``
tokens lose their worth in the same way, with a constant of their own. As in the paper the five constants
are those of runs that repeat nothing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from t5lite.core.errors import DataError
from t5lite.scaling.laws import ChinchillaLaw
from t5lite.scaling.observations import ONCE, Observations
from t5lite.scaling.parametric import DELTA, LawFit, fit_law

_FEWEST_REPEATED = 3
_FURTHEST = 20.0
"""Of ln R."""
_LARGEST = 1e100
"""Of a constant; beyond, or below the inverse, a term is nothing or everything."""
_STARTS = ((2.0, 2.0), (15.0, 5.0), (50.0, 50.0))


@dataclass(frozen=True, kw_only=True)
class RepetitionFit:
    """Chinchilla's formula of what tokens and parameters are worth.

    Attributes:
      once: the formula, of runs that repeat nothing.
      tokens_worth: R of tokens: all repetitions together are worth so many times the unique ones.
      params_worth: R of parameters; None where no run has more than are best for its unique tokens.
      is_unbounded: one of them is at the end of what is tried, and says no more than that.
      num_repeated: runs that repeat tokens.
      residuals: ln of measured over fitted loss, of the runs that repeat tokens.
    """

    once: LawFit
    tokens_worth: float
    params_worth: float | None
    is_unbounded: bool
    num_repeated: int
    residuals: np.ndarray

    @property
    def numbers(self) -> dict[str, float]:
        """What intervals are wanted of."""
        of_params = {} if self.params_worth is None else {"R of N": self.params_worth}
        return self.once.constants | {"R of D": self.tokens_worth} | of_params

    def loss(self, params: np.ndarray, tokens: np.ndarray, unique_tokens: np.ndarray) -> np.ndarray:
        """Return the loss of runs, [P]."""
        worths = np.log([self.tokens_worth, self.params_worth or 1.0])
        return np.exp(_log_loss(self.once, worths, params, tokens, unique_tokens))


def fit_repetition(observations: Observations) -> RepetitionFit:
    """Fit the two constants of repetition, after the five of runs that repeat nothing.

    Raises:
      DataError: without unique tokens, or too few runs of either kind.
    """
    unique_tokens = observations.unique_tokens
    if unique_tokens is None:
        raise DataError("repetition needs a column of unique tokens")
    repeated = observations.tokens > ONCE * unique_tokens
    if repeated.sum() < _FEWEST_REPEATED:
        raise DataError(f"{repeated.sum()} runs repeat tokens; {_FEWEST_REPEATED} are needed")
    law = ChinchillaLaw()
    if np.sum(~repeated) <= law.num_constants:
        raise DataError(
            f"{np.sum(~repeated)} runs repeat nothing, and the law of such runs has {law.num_constants} "
            f"constants; {law.num_constants + 1} of them are needed"
        )
    once = fit_law(law, observations.take(~repeated))
    amounts = {name: value for name, value in once.constants.items() if name != "E"}
    if undetermined := [name for name, value in amounts.items() if not 1 / _LARGEST < value < _LARGEST]:
        raise DataError(
            f"the runs that repeat nothing do not determine {', '.join(undetermined)}, by which it is told "
            "what repetitions are worth"
        )
    logs = np.log(observations.loss)

    def fitted(worths: np.ndarray) -> np.ndarray:
        return _log_loss(once, worths, observations.params, observations.tokens, unique_tokens)

    def objective(worths: np.ndarray) -> float:
        errors = np.abs(fitted(worths) - logs)[repeated] / DELTA
        return float(np.sum(np.where(errors <= 1, errors**2 / 2, errors - 0.5)))

    ends = [minimize(objective, np.log(start), method="Nelder-Mead") for start in _STARTS]
    best = min(ends, key=lambda end: end.fun)
    has_more = observations.params > _best_params(once, unique_tokens)
    tokens_worth, params_worth = np.exp(np.clip(best.x, -_FURTHEST, _FURTHEST))
    told = best.x if has_more[repeated].any() else best.x[:1]
    return RepetitionFit(
        once=once,
        tokens_worth=float(tokens_worth),
        params_worth=float(params_worth) if len(told) > 1 else None,
        is_unbounded=bool((np.abs(told) >= _FURTHEST - 1).any()),
        num_repeated=int(repeated.sum()),
        residuals=(logs - fitted(best.x))[repeated],
    )


def _log_loss(
    once: LawFit, worths: np.ndarray, params: np.ndarray, tokens: np.ndarray, unique_tokens: np.ndarray
) -> np.ndarray:
    of_tokens, of_params = np.exp(np.clip(worths, -_FURTHEST, _FURTHEST))
    unique = np.minimum(tokens, unique_tokens)
    base = np.minimum(params, _best_params(once, unique))
    worth_tokens = _worth(tokens, unique, of_tokens)
    worth_params = _worth(params, base, of_params)
    return once.law.log_loss(once.theta, worth_params, worth_tokens, once.centre)[0]


def _worth(amount: np.ndarray, base: np.ndarray, constant: float) -> np.ndarray:
    return base + base * constant * -np.expm1(-(amount / base - 1) / constant)


def _best_params(once: LawFit, tokens: np.ndarray) -> np.ndarray:
    """Return the parameters for which so many tokens are best, by the formula."""
    constants = once.constants
    ratio = constants["alpha"] * constants["A"] / (constants["beta"] * constants["B"])
    return (ratio * tokens ** constants["beta"]) ** (1 / constants["alpha"])
