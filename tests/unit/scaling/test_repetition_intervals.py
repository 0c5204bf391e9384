"""Intervals of what repeated tokens are worth are as wide as fits differ."""

from dataclasses import replace

import numpy as np
import pytest

from t5lite.scaling import repetition
from t5lite.scaling.analysis import Settings, analyse
from t5lite.scaling.intervals import Bootstrapped, Interval
from t5lite.scaling.methods import METHODS, Asked
from t5lite.scaling.repetition import directions, fit_repetition, refits, shared_errors
from tests.unit.scaling.simulated import ALPHA, BETA, A, B, isoflops, repeating


def table(*, noise=0.0, seed=0):
    once = isoflops(noise=noise, seed=seed, num_budgets=5, sizes=4)
    unique = once.tokens / np.resize(np.geomspace(2, 40, 5), len(once))
    errors = noise * np.random.default_rng((seed, 1)).normal(size=len(once))
    return repeating(once, unique, errors=errors)


@pytest.fixture(scope="module")
def exact():
    runs = table()
    return runs, fit_repetition(runs)


def rms(values):
    return float(np.sqrt(np.mean(values**2)))


def missed(fit, runs):
    """ln of measured over fitted loss."""
    repeats = runs.tokens > runs.unique_tokens
    once = fit.once.loss(runs.params, runs.tokens)
    return np.log(runs.loss / np.where(repeats, fit.loss(runs.params, runs.tokens, runs.unique_tokens), once))


def test_what_the_constants_err_by_is_shared(exact):
    """Runs that repeat tokens miss a fit whose other constants err, all together; none errs by itself."""
    runs, fit = exact
    for place in range(len(fit.once.theta)):
        theta = fit.once.theta + 0.01 * (np.arange(5) == place)
        wrong = replace(fit, once=replace(fit.once, theta=theta))
        errors = missed(wrong, runs)
        assert rms(errors) > 1e-4
        assert rms(errors - shared_errors(wrong, runs)) < 0.03 * rms(errors)


def test_one_run_that_errs_is_not_shared(exact):
    """Not by least squares either: a run that went wrong is not told from its neighbours' errors there."""
    runs, fit = exact
    astray = runs.with_loss(runs.loss * np.exp(0.2 * (np.arange(len(runs)) == 27)))
    assert np.abs(shared_errors(fit, astray)).max() < 2e-3


def test_resamples_of_runs_that_all_count_alike_are_the_fit():
    runs = table(noise=0.01)
    fit = fit_repetition(runs)
    (again,) = refits(fit, runs, np.ones((1, len(runs))))
    assert again().numbers == pytest.approx(fit.numbers, rel=0.03)


def test_a_constant_that_no_run_tells_of_has_no_share(exact):
    runs, fit = exact
    assert np.isfinite(shared_errors(replace(fit, tokens_worth=np.exp(20.0)), runs)).all()
    best = (ALPHA * A / (BETA * B) * runs.unique_tokens**BETA) ** (1 / ALPHA)
    few = runs.take((runs.tokens <= runs.unique_tokens) | (runs.params < 0.9 * best))
    fit = fit_repetition(few)
    assert fit.num_repeated >= 3
    assert fit.params_worth is None
    np.testing.assert_allclose(shared_errors(fit, few), 0, atol=1e-4)


@pytest.mark.parametrize("bound", [{"E": -30.0}, {"R": 20.0}, {"E": -30.0, "R": 20.0}])
def test_a_constant_at_a_bound_is_no_direction(bound, exact, monkeypatch):
    """Its changes are of rounding alone, whatever their direction."""
    runs, fit = exact
    theta = np.where(np.arange(5) == 0, bound.get("E", fit.once.theta[0]), fit.once.theta)
    at_bound = replace(fit, once=replace(fit.once, theta=theta), tokens_worth=np.exp(bound.get("R", 2.7)))
    found = []
    monkeypatch.setattr(
        repetition, "directions", lambda tangent: found.append(directions(tangent)) or found[0]
    )
    shared_errors(at_bound, runs)
    assert found[0].shape == (len(runs), 7 - len(bound))


@pytest.mark.slow
def test_intervals_are_as_wide_as_estimates_differ():
    """Of R of D: of 200 tables nine tenths of ln R lie within 0.78.

    Six tables tell little: their median is 1.22 on one processor and below 1 on another; that of sixteen, on
    the former, 1.10.
    """
    method, widths = METHODS["repetition"], []
    for seed in range(6):
        runs = table(noise=0.01, seed=seed)
        found = method.intervals(method.fit(runs), runs, asked=Asked(), num_resamples=60, level=0.9)
        interval = found.intervals["R of D"]
        widths.append(np.log(interval.high / interval.low))
    assert 0.55 < np.median(widths) < 1.6


def test_an_end_that_runs_do_not_bound_is_said(exact, monkeypatch):
    runs, _ = exact
    endless = {"R of D": Interval(low=3.0, high=np.inf, level=0.9)}
    found = Bootstrapped(intervals=endless, num_resamples=10, num_failed=0)
    monkeypatch.setattr(type(METHODS["repetition"]), "intervals", lambda *_, **__: found)
    said = analyse(runs, METHODS["repetition"], Settings(num_resamples=3)).notes
    assert "no upper end of R of D: these runs do not bound how large it may be" in said


@pytest.mark.parametrize(
    ("num_repeated", "has_interval", "note"),
    [
        (4, False, "no interval of R: fewer than 5 runs repeat tokens"),
        (7, True, "fewer than 8 runs repeat tokens: intervals of R are too narrow"),
        (8, True, None),
    ],
)
def test_few_runs_that_repeat_tokens_bound_no_worth(num_repeated, has_interval, note):
    method, runs = METHODS["repetition"], table(noise=0.01).take(np.arange(20 + num_repeated))
    fitted = method.fit(runs)
    found = method.intervals(fitted, runs, asked=Asked(), num_resamples=3, level=0.9)
    assert ("R of D" in found.intervals) == has_interval
    assert "alpha" in found.intervals
    assert [each for each in fitted.notes() if "fewer" in each] == [note] * (note is not None)
