"""The ways of fitting, by name: what each finds, predicts for a budget, and what is to be said of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.envelope import EnvelopeFit, fit_envelope
from t5lite.scaling.intervals import (
    Bootstrapped,
    draws,
    generator,
    listed,
    percentiles,
    random_weights,
    refitted,
)
from t5lite.scaling.isoflop import IsoFlopFit, fit_isoflop, isoflop_residuals, profile_of, refit_isoflop
from t5lite.scaling.laws import LAWS, ChinchillaLaw
from t5lite.scaling.loss_of_compute import LossOfCompute, fit_loss_of_compute
from t5lite.scaling.observations import Observations
from t5lite.scaling.parametric import LawFit, fit_law, refit
from t5lite.scaling.power_law import BestSizes
from t5lite.scaling.repetition import RepetitionFit, fit_repetition, refits
from t5lite.scaling.variable_projection import fit_projected, likelihood_intervals

_SIZES = ("N", "D", "loss")
_ILL_CONDITIONED = 300.0
_BADLY = 0.05
"""Of ln L; laws of one experiment miss its runs by about a hundredth."""
_FEW = 6
"""Runs of a budget; with fewer it has no more than two errors that its parabola does not take."""


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """What to train for a budget: parameters and tokens, and the loss where the method knows one."""

    params: float
    tokens: float
    loss: float | None = None

    def numbers(self, flops: float) -> dict[str, float]:
        """Return them by names that say the budget."""
        values = (self.params, self.tokens, self.loss)
        return {
            f"{name} at {flops:g}": value
            for name, value in zip(_SIZES, values, strict=True)
            if value is not None
        }


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a fit is to predict.

    Attributes:
      budgets: FLOPs, of which the best sizes.
      runs: of which the loss; their own losses have no say.
    """

    budgets: tuple[float, ...] = ()
    runs: tuple[Observations, ...] = ()


def loss_name(params: float, tokens: float) -> str:
    """Return the name of a predicted loss."""
    return f"loss at N={params:.6g}, D={tokens:.6g}"


class _Found(Protocol):
    """What a method's module returns."""

    @property
    def numbers(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Fitted(ABC):
    """A method, fitted to a table."""

    fit: _Found

    @property
    def numbers(self) -> dict[str, float]:
        """What it found, by name."""
        return self.fit.numbers

    @abstractmethod
    def optimum(self, flops: float) -> Optimum | None:
        """Return what to train for a budget; None if it does not say."""

    @property
    def law(self) -> LawFit | None:
        """The formula L(N, D) that was fitted; None if none was."""
        return None

    def predicted_loss(self, observations: Observations) -> np.ndarray | None:
        """Return the loss of runs, [P]; None if it predicts that of no single run."""
        del observations
        return None

    def held_out(self, observations: Observations) -> str | None:
        """Say how well other, larger runs are predicted; None if it predicts nothing of them."""
        predicted = self.predicted_loss(observations)
        if predicted is None:
            return None
        errors = 100 * (predicted / observations.loss - 1)
        return (
            f"loss of {len(observations)} points missed by {np.mean(np.abs(errors)):.2f} % on average, "
            f"{errors[np.argmax(np.abs(errors))]:+.2f} % at most"
        )

    def notes(self) -> list[str]:
        """Return what is to be said of the fit."""
        return []


@dataclass(frozen=True)
class _BestSizes(Fitted):
    """Of methods that say what to train, and at most the loss of that."""

    fit: BestSizes
    loss: LossOfCompute | None = None

    def optimum(self, flops: float) -> Optimum:
        loss = None if self.loss is None else self.loss(flops)
        return Optimum(params=self.fit.params(flops), tokens=self.fit.tokens(flops), loss=loss)


@dataclass(frozen=True)
class _Envelope(_BestSizes):
    fit: EnvelopeFit

    def notes(self) -> list[str]:
        return [f"{self.fit.num_lowest} of {self.fit.num_runs} runs are lowest at some cost"]


@dataclass(frozen=True)
class _IsoFlop(_BestSizes):
    fit: IsoFlopFit

    def held_out(self, observations: Observations) -> str | None:
        profile = profile_of(observations)
        if profile is None:
            return (
                f"no vertex of its own to compare with: that takes three sizes and a lowest point near them; "
                f"it has {len(observations)} runs"
            )
        expected = self.optimum(profile.flops)
        said = f"best tokens {expected.tokens:.3g}, by its own parabola {profile.tokens:.3g}"
        if expected.loss is not None:
            missed = 100 * (expected.loss / profile.loss - 1)
            said += f"; loss there {expected.loss:.4g}, by its own {profile.loss:.4g} ({missed:+.2f} %)"
        return said

    def notes(self) -> list[str]:
        said = [self.fit.beyond] if self.fit.beyond else []
        if self.fit.left_out:
            listed = ", ".join(f"{flops:.3g}" for flops in self.fit.left_out)
            said.append(
                "left out, for want of three sizes, or of a lowest point near them and above a loss of 0: "
                f"budgets of {listed} FLOPs"
            )
        if outside := [profile.flops for profile in self.fit.profiles if profile.outside]:
            listed = ", ".join(f"{flops:.3g}" for flops in outside)
            said.append(
                f"lowest outside of the sizes that were tried, so extrapolated: budgets of {listed} FLOPs"
            )
        few = sum(profile.num_points < _FEW for profile in self.fit.profiles)
        if few:
            said.append(
                f"budgets of fewer than {_FEW} runs ({few} of {len(self.fit.profiles)}) hardly tell if one "
                "errs more than others; where one does, intervals are too narrow"
            )
        if len(self.fit.profiles) < 4:
            said.append(
                f"a line through {len(self.fit.profiles)} budgets; with fewer than four nothing checks it"
            )
        return said


@dataclass(frozen=True)
class _Law(Fitted):
    fit: LawFit

    @property
    def law(self) -> LawFit:
        return self.fit

    def optimum(self, flops: float) -> Optimum | None:
        found = self.fit.optimum(flops)
        return None if found is None else Optimum(params=found[0], tokens=found[1], loss=found[2])

    def predicted_loss(self, observations: Observations) -> np.ndarray:
        return self.fit.loss(observations.params, observations.tokens)

    def notes(self) -> list[str]:
        missed = float(np.sqrt(np.mean(self.fit.residuals**2)))
        said = [f"residuals of ln L: {missed:.2g} root mean square", *self.fit.law.limits(self.numbers)]
        if missed > _BADLY:
            said.append(
                f"the law misses these runs by {100 * missed:.0f} %: are they of one experiment? --where and "
                "--by tell experiments apart"
            )
        if self.fit.condition > _ILL_CONDITIONED:
            said.append(
                f"ill-conditioned (condition {self.fit.condition:.0f}): constants may change together and "
                "hardly the loss; trust exponents of the best sizes and predictions nearby, not in constants"
            )
        if self.fit.ends_alike < self.fit.followed:
            said.append(
                f"{self.fit.ends_alike} of {self.fit.followed} starts ended at this optimum; others above it"
            )
        if not self.fit.exponents():
            said.append(
                "no size is best by this law: one of its terms is hardly there, and more of the other wins"
            )
        constants = self.fit.constants
        if any(value <= 0 for value in constants.values()):
            said.append(
                "ill-conditioned: "
                + ", ".join(f"{name} is 0" for name, value in constants.items() if value <= 0)
                + "; the runs do not tell that constant from nothing"
            )
        return said


@dataclass(frozen=True)
class _Repetition(Fitted):
    fit: RepetitionFit

    def optimum(self, flops: float) -> None:
        del flops

    def predicted_loss(self, observations: Observations) -> np.ndarray | None:
        if observations.unique_tokens is None:
            return None
        return self.fit.loss(observations.params, observations.tokens, observations.unique_tokens)

    def notes(self) -> list[str]:
        said = [f"{self.fit.num_repeated} runs repeat tokens; E, A, B, alpha and beta are of the others"]
        said += self.fit.notes_of_few()
        if self.fit.params_worth is None:
            said.append(
                "R of N is not determined: no run that repeats tokens has more parameters than are best for "
                "its unique tokens"
            )
        if self.fit.is_unbounded:
            said.append(
                "an R is at the end of what was tried: these runs tell only that it is so small or large"
            )
        return said


class Method(ABC):
    """A way of fitting."""

    name: ClassVar[str]
    about: ClassVar[str]
    repeats_to_skip: ClassVar[bool] = True
    """Whether runs that repeat tokens would bend the fit, so that they are left out."""

    @abstractmethod
    def fit(self, observations: Observations) -> Fitted:
        """Fit a table.

        Raises:
          DataError: if it cannot be fitted to such a table, saying why.
        """

    def intervals(
        self,
        fitted: Fitted,
        observations: Observations,
        *,
        asked: Asked,
        num_resamples: int,
        level: float,
    ) -> Bootstrapped:
        """Return intervals of all numbers, and of what is predicted, by drawing trainings."""
        tables = map(observations.take, draws(observations, num_resamples))
        return refitted(lambda table: numbers_of(self.fit(table), asked), tables, level=level)


def numbers_of(fitted: Fitted, asked: Asked) -> dict[str, float]:
    """Return all numbers of a fit, those that it predicts too."""
    numbers = dict(fitted.numbers)
    for flops in asked.budgets:
        if (optimum := fitted.optimum(flops)) is not None:
            numbers |= optimum.numbers(flops)
    for runs in asked.runs:
        if (losses := fitted.predicted_loss(runs)) is not None:
            names = map(loss_name, runs.params.tolist(), runs.tokens.tolist())
            numbers |= dict(zip(names, losses.tolist(), strict=True))
    return numbers


class Envelope(Method):
    """Chinchilla's first approach."""

    name = "envelope"
    about = "which run is lowest at each cost (Hoffmann et al., approach 1)"

    def fit(self, observations: Observations) -> Fitted:
        """Fit it."""
        return _Envelope(fit_envelope(observations))


class IsoFlop(Method):
    """Chinchilla's second approach."""

    name = "isoflop"
    about = "a parabola of each budget, a line through the vertices (Hoffmann et al., approach 2; Llama 3)"

    def fit(self, observations: Observations) -> Fitted:
        """Fit it."""
        fit = fit_isoflop(observations)
        flops = np.array([profile.flops for profile in fit.profiles])
        loss = np.array([profile.loss for profile in fit.profiles])
        (law,) = fit_loss_of_compute(flops, loss[None]) or [None]
        return _IsoFlop(fit, law)

    def intervals(
        self, fitted: Fitted, observations: Observations, *, asked: Asked, num_resamples: int, level: float
    ) -> Bootstrapped:
        """Return them of errors that are drawn; of curves, whole trainings are."""
        if observations.runs is not None:
            return super().intervals(
                fitted, observations, asked=asked, num_resamples=num_resamples, level=level
            )
        assert isinstance(fitted.fit, IsoFlopFit)  # its own fit
        used, residuals = isoflop_residuals(fitted.fit, observations)
        laws = refit_isoflop(used, residuals.redrawn(num_resamples, generator(used)))
        found = [numbers_of(_BestSizes(*each), asked) for each in laws if each is not None]
        return percentiles(found, num_failed=laws.count(None), level=level)


class Chinchilla(Method):
    """Chinchilla's third approach."""

    name = "chinchilla"
    about = f"{LAWS['chinchilla'].formula}, by Huber loss of ln L (Hoffmann et al., approach 3)"

    def fit(self, observations: Observations) -> Fitted:
        """Fit it."""
        return _Law(fit_law(LAWS[self.name], observations))

    def intervals(
        self, fitted: Fitted, observations: Observations, *, asked: Asked, num_resamples: int, level: float
    ) -> Bootstrapped:
        """Return them of all resamples at once."""
        law = fitted.law
        assert law is not None  # its own fit
        thetas = refit(law, observations, random_weights(observations, num_resamples))
        found = [numbers_of(_Law(replace(law, theta=theta)), asked) for theta in thetas]
        return percentiles(found, level=level)


class Kaplan(Chinchilla):
    """Kaplan's law."""

    name = "kaplan"
    about = f"{LAWS['kaplan'].formula}, by Huber loss of ln L (Kaplan et al.)"


class VariableProjection(Method):
    """Chinchilla's formula by least squares, with intervals by likelihood."""

    name = "projection"
    about = f"{ChinchillaLaw.formula}, by least squares and variable projection; intervals by likelihood"

    def fit(self, observations: Observations) -> Fitted:
        """Fit it."""
        return _Law(fit_projected(observations))

    def intervals(
        self,
        fitted: Fitted,
        observations: Observations,
        *,
        asked: Asked,
        num_resamples: int,
        level: float,
    ) -> Bootstrapped:
        """Return likelihood intervals of all numbers; no resamples are needed.

        Points of one training err together, which the likelihood does not know: of curves, trainings are
        drawn.
        """
        law = fitted.law
        assert law is not None  # its own fit
        if observations.runs is not None:
            return super().intervals(
                fitted, observations, asked=asked, num_resamples=num_resamples, level=level
            )

        def numbers(theta: np.ndarray) -> dict[str, float]:
            return numbers_of(_Law(replace(law, theta=theta)), asked)

        found = likelihood_intervals(law, observations, numbers, level=level)
        lacking = [name for name in numbers(law.theta) if name not in found]
        said = f"{listed(lacking)}: no interval, since the search for its ends came to none"
        return Bootstrapped(intervals=found, num_resamples=0, num_failed=0, notes=(said,) * bool(lacking))


class Repetition(Method):
    """What repeated tokens are worth."""

    name = "repetition"
    about = "what tokens that were seen before are worth (Muennighoff et al.)"
    repeats_to_skip = False

    def fit(self, observations: Observations) -> Fitted:
        """Fit it."""
        return _Repetition(fit_repetition(observations))

    def intervals(
        self, fitted: Fitted, observations: Observations, *, asked: Asked, num_resamples: int, level: float
    ) -> Bootstrapped:
        """Return them of runs that count more or less, followed from where the fit ended."""
        found = fitted.fit
        assert isinstance(found, RepetitionFit)  # its own fit
        resamples = refits(found, observations, random_weights(observations, num_resamples))
        return refitted(
            lambda fit: found.bounded(numbers_of(_Repetition(fit()), asked)), resamples, level=level
        )


METHODS: dict[str, Method] = {
    method.name: method
    for method in (Envelope(), IsoFlop(), Chinchilla(), VariableProjection(), Kaplan(), Repetition())
}


def parabola_bias(fitted: Fitted, observations: Observations) -> float | None:
    """Return by how much parabolas miss the N exponent of a law, at the table's points; None without a law.

    The law's losses, without noise, are given to the parabolas.
    """
    loss = fitted.predicted_loss(observations)
    if loss is None or "N exponent" not in fitted.numbers:
        return None
    try:
        parabola = fit_isoflop(observations.with_loss(loss)).numbers["N exponent"]
    except DataError:
        return None
    return parabola - fitted.numbers["N exponent"]
