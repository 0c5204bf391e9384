"""What tokens are worth that were seen before (Muennighoff et al., 2023, equations 5 and 6).

``L = E + A / N'^alpha + B / D'^beta``, with ``D' = U + U R (1 - exp(-r / R))`` of ``U`` unique tokens,
``r = D / U - 1`` repetitions and a constant ``R``: the first repetitions count nearly as new tokens, and
all there can be count as ``R`` times the unique ones. Parameters beyond those that are best for ``U``
tokens lose their worth in the same way, with a constant of their own. As in the paper the five constants
are those of runs that repeat nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import minimize

from t5lite.core.errors import DataError
from t5lite.scaling.laws import ChinchillaLaw
from t5lite.scaling.minimization import minimize_all
from t5lite.scaling.observations import ONCE, Observations
from t5lite.scaling.parametric import DELTA, LawFit, fit_law, huber, refit

_FEWEST_REPEATED = 3
_FEWEST_BOUNDED, _FEW = 5, 8
"""Runs that repeat tokens: 90 % intervals of R hold the truth in 68 of 100 tables with three of them, in 72
with five and in 89 with eight."""
_FURTHEST = 20.0
"""Of ln R."""
_LARGEST = 1e100
"""Of a constant, or of parameters; beyond, or below the inverse, a term is nothing or everything."""
_WIGGLE = 1e-4
"""Of logarithms of constants, to see how losses change."""
_NOTHING = 1e-7
"""Of a direction of such changes, relative to them."""
_ROUNDED = 1e-8
"""Of such a change, relative to the largest: it is of rounding."""
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
    def log_worths(self) -> np.ndarray:
        """Their logarithms, [2]; what is None has no say."""
        return np.log([self.tokens_worth, self.params_worth or 1.0])

    @property
    def numbers(self) -> dict[str, float]:
        """What intervals are wanted of."""
        worths = {"R of D": self.tokens_worth, "R of N": self.params_worth}
        told = {name: _as_told(worth) for name, worth in worths.items() if worth is not None}
        return self.once.constants | told

    def bounded(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return those of numbers of which intervals are told."""
        lacking = ("R of D", "R of N") if self.num_repeated < _FEWEST_BOUNDED else ()
        return {name: value for name, value in numbers.items() if name not in lacking}

    def notes_of_few(self) -> list[str]:
        """Say what too few runs that repeat tokens are too few for."""
        if self.num_repeated >= _FEW:
            return []
        if self.num_repeated < _FEWEST_BOUNDED:
            return [f"no interval of R: fewer than {_FEWEST_BOUNDED} runs repeat tokens"]
        return [f"fewer than {_FEW} runs repeat tokens: intervals of R are too narrow"]

    def loss(self, params: np.ndarray, tokens: np.ndarray, unique_tokens: np.ndarray) -> np.ndarray:
        """Return the loss of runs, [P]."""
        return np.exp(_log_losses(self.once, params, tokens, unique_tokens)(self.log_worths))


def fit_repetition(observations: Observations) -> RepetitionFit:
    """Fit the two constants of repetition, after the five of runs that repeat nothing.

    Raises:
      DataError: without unique tokens, or too few runs of either kind.
    """
    if observations.unique_tokens is None:
        raise DataError("repetition needs a column of unique tokens")
    repeated = _repeated(observations)
    if repeated.sum() < _FEWEST_REPEATED:
        raise DataError(f"{repeated.sum()} runs repeat tokens; {_FEWEST_REPEATED} are needed")
    law = ChinchillaLaw()
    if np.sum(~repeated) <= law.num_constants:
        raise DataError(
            f"{np.sum(~repeated)} runs repeat nothing, and the law of such runs has {law.num_constants} "
            f"constants; {law.num_constants + 1} of them are needed"
        )
    return fit_worths(fit_law(law, observations.take(~repeated)), observations)


def refits(
    fit: RepetitionFit, observations: Observations, weights: np.ndarray
) -> Iterator[Callable[[], RepetitionFit]]:
    """Yield what fits each resample, in which runs count as a row of ``weights`` [R, P], and may raise.

    What the five constants err by, all runs that repeat tokens miss the fit by together. Resamples have that
    from their own constants, so their runs are those of the fit with what each errs by alone. Rao and Zhao
    (1992) weight losses as they are, of a fit in one step; in two that counts twice, as scatter, too: 90 %
    intervals of R of tokens held the truth in 98 of 100 tables.
    """
    once = ~_repeated(observations)
    # From where nothing changes the way back is not found.
    starts = _STARTS if fit.is_unbounded else ((fit.tokens_worth, fit.params_worth or 1.0),)
    thetas = refit(fit.once, observations.take(once), weights[:, once])
    alone = observations.with_loss(observations.loss * np.exp(-shared_errors(fit, observations)))
    for theta, weight in zip(thetas, weights, strict=True):
        law = replace(fit.once, theta=theta)
        yield partial(fit_worths, law, alone, weights=weight, starts=starts)


def shared_errors(fit: RepetitionFit, observations: Observations) -> np.ndarray:
    """Return ln of the losses that are best for all runs together over the fit's, [P].

    All seven constants move, in the fit's tangent, to the least Huber loss of both kinds of runs.
    """
    repeated = _repeated(observations)
    once, again = observations.take(~repeated), observations.take(repeated)
    unique = again.unique_tokens
    assert unique is not None  # of which they repeat some
    num_constants = len(fit.once.theta)
    at = np.append(fit.once.theta, fit.log_worths)

    def log_losses(moved: np.ndarray) -> np.ndarray:
        law = replace(fit.once, theta=moved[:num_constants])
        of_again = _log_losses(law, again.params, again.tokens, unique)
        losses = np.empty(len(observations))
        losses[~repeated] = np.log(law.loss(once.params, once.tokens))
        losses[repeated] = of_again(moved[num_constants:])
        return losses

    steps = _WIGGLE * np.eye(len(at))
    tangent = np.stack([log_losses(at + step) - log_losses(at - step) for step in steps], axis=1)
    basis, left = directions(tangent), np.log(observations.loss) - log_losses(at)

    def objective(moved: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del which  # one problem
        errors = (moved @ basis.T - left) / DELTA
        return np.sum(huber(errors), axis=1), np.clip(errors, -1, 1) @ basis / DELTA

    (moved,), _ = minimize_all(objective, (left @ basis)[None])
    return basis @ moved


def directions(tangent: np.ndarray) -> np.ndarray:
    """Return what columns [P, K] span, as orthogonal ones of length 1, without what is rounding alone.

    A constant that no run tells of changes no loss; one at a bound, such as E of nearly 0, by less than
    losses are rounded, which no scaling is to make a direction of.
    """
    sizes = np.linalg.norm(tangent, axis=0)
    told = sizes > _ROUNDED * sizes.max()
    basis, heights, _ = np.linalg.svd(tangent[:, told] / sizes[told], full_matrices=False)
    return basis[:, heights > _NOTHING]


def fit_worths(
    once: LawFit,
    observations: Observations,
    *,
    weights: np.ndarray | None = None,
    starts: Sequence[tuple[float, float]] = _STARTS,
) -> RepetitionFit:
    """Fit the two constants of repetition to the runs that repeat tokens.

    Args:
      once: the formula of runs that repeat nothing.
      observations: of both kinds.
      weights: how much each counts, [P]; alike if not given.
      starts: R of tokens and of parameters, from each of which is searched.

    Raises:
      DataError: if the formula has a term that is nothing, or changes so little with parameters that it has
      no best ones.
    """
    amounts = {name: value for name, value in once.constants.items() if name != "E"}
    if undetermined := [name for name, value in amounts.items() if not 1 / _LARGEST < value < _LARGEST]:
        raise _undetermined(undetermined)
    repeated = _repeated(observations)
    runs, weight = observations.take(repeated), 1.0 if weights is None else weights[repeated]
    assert runs.unique_tokens is not None  # of which they repeat some
    best_params = _best_params(once, runs.unique_tokens)
    if not ((best_params > 1 / _LARGEST) & (best_params < _LARGEST)).all():
        raise _undetermined(["alpha"])
    logs, fitted = np.log(runs.loss), _log_losses(once, runs.params, runs.tokens, runs.unique_tokens)

    def objective(worths: np.ndarray) -> float:
        return float(np.sum(weight * huber((fitted(worths) - logs) / DELTA)))

    ends = [minimize(objective, np.log(start), method="Nelder-Mead") for start in starts]
    best = min(ends, key=lambda end: end.fun)
    has_more = runs.params > best_params
    tokens_worth, params_worth = np.exp(np.clip(best.x, -_FURTHEST, _FURTHEST))
    told = best.x if has_more.any() else best.x[:1]
    return RepetitionFit(
        once=once,
        tokens_worth=float(tokens_worth),
        params_worth=float(params_worth) if len(told) > 1 else None,
        is_unbounded=bool((np.abs(told) >= _FURTHEST - 1).any()),
        num_repeated=len(runs),
        residuals=logs - fitted(best.x),
    )


def _undetermined(names: Sequence[str]) -> DataError:
    return DataError(
        f"the runs that repeat nothing do not determine {', '.join(names)}, by which it is told what "
        "repetitions are worth"
    )


def _as_told(worth: float) -> float:
    """Return an R; 0 or infinity at the ends of what is tried, which say no more than that."""
    if abs(np.log(worth)) < _FURTHEST - 1:
        return worth
    return np.inf if worth > 1 else 0.0


def _repeated(observations: Observations) -> np.ndarray:
    assert observations.unique_tokens is not None  # of a table that was fitted, or is to be
    return observations.tokens > ONCE * observations.unique_tokens


def _log_losses(
    once: LawFit, params: np.ndarray, tokens: np.ndarray, unique_tokens: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what finds ln L of runs [P] from ln of the two constants [2]."""
    unique = np.minimum(tokens, unique_tokens)
    base = np.minimum(params, _best_params(once, unique))

    def log_loss(worths: np.ndarray) -> np.ndarray:
        of_tokens, of_params = np.exp(np.clip(worths, -_FURTHEST, _FURTHEST))
        worth_tokens, worth_params = _worth(tokens, unique, of_tokens), _worth(params, base, of_params)
        return once.law.log_loss(once.theta, worth_params, worth_tokens, once.centre)[0]

    return log_loss


def _worth(amount: np.ndarray, base: np.ndarray, constant: float) -> np.ndarray:
    return base + base * constant * -np.expm1(-(amount / base - 1) / constant)


def _best_params(once: LawFit, tokens: np.ndarray) -> np.ndarray:
    """Return the parameters for which so many tokens are best, by the formula; 0 or infinite if none are."""
    constants = once.constants
    ratio = constants["alpha"] * constants["A"] / (constants["beta"] * constants["B"])
    with np.errstate(over="ignore", under="ignore"):  # of an alpha that is nothing
        return (ratio * tokens ** constants["beta"]) ** (1 / constants["alpha"])
