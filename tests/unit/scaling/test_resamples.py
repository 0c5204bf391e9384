"""Many fits at once find what each finds by itself."""

from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy.optimize import minimize

from t5lite.core.errors import DataError
from t5lite.scaling import parametric
from t5lite.scaling.intervals import Residuals, draws, percentiles, random_weights
from t5lite.scaling.isoflop import fit_isoflop, isoflop_residuals, refit_isoflop
from t5lite.scaling.laws import LAWS, ChinchillaLaw
from t5lite.scaling.methods import METHODS
from t5lite.scaling.minimization import minimize_all
from t5lite.scaling.parametric import fit_law, refit
from t5lite.scaling.variable_projection import fit_projected, likelihood_intervals
from tests.unit.scaling.simulated import isoflops


@hypothesis.given(seed=st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=15, deadline=None)
def test_each_of_many_problems_is_minimised(seed):
    """Convex ones with known minima, of condition up to 1e4, with the kinks that a Huber loss rounds."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(7, 4))
    turned = np.linalg.qr(rng.normal(size=(7, 4, 4)))[0] * np.geomspace(1, 100, 4)

    def objective(theta, which):
        errors = np.einsum("rij,rj->ri", turned[which].transpose(0, 2, 1), theta - targets[which])
        inner = np.abs(errors) <= 1
        values = np.where(inner, errors**2 / 2, np.abs(errors) - 0.5).sum(axis=1)
        return values, np.einsum("rij,rj->ri", turned[which], np.clip(errors, -1, 1))

    ends, values = minimize_all(objective, np.zeros((7, 4)))
    np.testing.assert_allclose(ends, targets, atol=1e-4)
    np.testing.assert_allclose(values, 0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
@hypothesis.given(seed=st.integers(0, 2**32 - 1), sizes=st.sampled_from([4, 8]))
@hypothesis.settings(max_examples=2, deadline=None)
def test_resamples_end_where_the_whole_grid_ends(name, seed, sizes):
    """Kaplan's law does not hold of these runs, so that its Huber loss has several hollows."""
    runs = isoflops(noise=0.01, seed=seed, num_budgets=5, sizes=sizes)
    fit = fit_law(LAWS[name], runs)
    drawn = draws(runs, 6)
    thetas = refit(fit, runs, np.array([np.bincount(which, minlength=len(runs)) for which in drawn]))
    for which, theta in zip(drawn, thetas, strict=True):
        taken = runs.take(which)
        alone = fit_law(LAWS[name], taken)
        left = np.abs(np.log(taken.loss / replace(fit, theta=theta).loss(taken.params, taken.tokens))) / 1e-3
        objective = np.sum(np.where(left <= 1, left**2 / 2, left - 0.5))
        assert objective <= alone.objective * (1.001 if name == "chinchilla" else 1.03)


def test_the_memory_of_a_fit_does_not_grow_with_the_grid_of_starts(monkeypatch):
    runs = isoflops(noise=0.01, num_budgets=3, sizes=6)
    whole = fit_law(LAWS["chinchilla"], runs)
    shapes = []

    class Watched(ChinchillaLaw):
        def log_loss(self, theta, params, tokens, centre):
            shapes.append((*theta.shape[:-1], len(params)))
            return super().log_loss(theta, params, tokens, centre)

    monkeypatch.setattr(parametric, "_NUMBERS_AT_ONCE", 12 * len(runs))
    parts = fit_law(Watched(), runs)
    assert max(map(np.prod, shapes)) <= 12 * len(runs)
    np.testing.assert_allclose(parts.theta, whole.theta, rtol=1e-9)
    again = refit(replace(whole, law=Watched()), runs, np.ones((2, len(runs))))
    np.testing.assert_allclose(again, [whole.theta] * 2, rtol=1e-3, atol=1e-3)
    assert max(map(np.prod, shapes)) <= 12 * len(runs)


def test_errors_that_are_drawn_are_as_large_as_the_runs():
    """By the leverages of a straight line, of which each residual is smaller than its error."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.vander(np.linspace(-1, 1, 30), 2))[0]
    errors = 0.01 * rng.normal(size=30)
    left = errors - basis @ (basis.T @ errors)
    residuals = Residuals(
        fitted=np.full(30, 2.0),
        left=left,
        leverages=np.sum(basis**2, axis=1),
        groups=np.zeros(30, int),
    )
    drawn = np.log(residuals.redrawn(400, np.random.default_rng(1)) / 2.0)
    expected = np.sqrt(np.sum(left**2) / 28)
    assert np.std(drawn) == pytest.approx(expected * np.sqrt(32 / 30), rel=0.05)
    exact = replace(residuals, leverages=np.full(30, 0.97))
    assert len(exact.redrawn(400, np.random.default_rng(1))) == 0


def residuals_of_means(spreads, sizes):
    """Of groups that are fitted by their means."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    errors = np.random.default_rng(0).normal(size=len(groups)) * np.repeat(spreads, sizes)
    left = errors - (np.bincount(groups, errors) / sizes)[groups]
    return Residuals(
        fitted=np.full(len(groups), 2.0), left=left, leverages=1 / np.array(sizes)[groups], groups=groups
    )


def test_budgets_have_errors_of_their_own_size():
    """One of four errs ten times as much; the last, of one run, may err as any."""
    residuals = residuals_of_means([0.001, 0.001, 0.01, 0.001], [12, 12, 16, 1])
    drawn = np.log(residuals.redrawn(2000, np.random.default_rng(1)) / 2.0)
    middle = [np.median(np.abs(drawn[:, residuals.groups == group])) for group in range(4)]
    own = np.sqrt(np.bincount(residuals.groups, residuals.left**2)[:3] / [11, 11, 15])
    assert middle[:3] == pytest.approx(0.69 * own, rel=0.15)
    assert middle[0] < middle[3] < middle[2]


def test_budgets_that_err_alike_share_the_size_of_their_errors():
    """Ten of four runs each: the smallest and the largest by chance are drawn towards the others."""
    residuals = residuals_of_means([0.01] * 10, [4] * 10)
    drawn = np.log(residuals.redrawn(2000, np.random.default_rng(1)) / 2.0)
    middle = np.array([np.median(np.abs(drawn[:, residuals.groups == group])) for group in range(10)])
    own = np.sqrt(np.bincount(residuals.groups, residuals.left**2) / 3)
    assert np.ptp(np.log(middle)) < 0.5 * np.ptp(np.log(own))
    of_all = np.sqrt(np.sum(residuals.left**2) / 30)
    assert middle == pytest.approx(0.69 * of_all, rel=0.15)


def test_one_budget_that_is_wrong_does_not_widen_the_others():
    middle = []
    for spread in (0.02, 0.2):
        residuals = residuals_of_means([0.001] * 5 + [spread], [8] * 6)
        drawn = np.log(residuals.redrawn(2000, np.random.default_rng(1)) / 2.0)
        middle.append(np.median(np.abs(drawn[:, residuals.groups < 5])))
    assert middle[1] == pytest.approx(middle[0], rel=0.1)


def test_runs_that_a_fit_goes_through_are_redrawn_as_they_are():
    residuals = replace(residuals_of_means([0.0] * 3, [5] * 3), left=np.zeros(15))
    np.testing.assert_array_equal(residuals.redrawn(3, np.random.default_rng(1)), np.full((3, 15), 2.0))


def test_other_tables_have_other_draws_and_the_same_the_same():
    runs = isoflops(noise=0.01, num_budgets=3, sizes=4)
    other = runs.with_loss(runs.loss * 1.001)
    np.testing.assert_array_equal(random_weights(runs, 3), random_weights(replace(runs), 3))
    assert not (random_weights(runs, 3) == random_weights(other, 3)).any()
    np.testing.assert_array_equal(draws(runs, 3), draws(replace(runs), 3))
    assert (np.array(draws(runs, 3)) != np.array(draws(other, 3))).any()


def test_weights_vary_as_counts_do_and_leave_no_run_out():
    runs = isoflops(num_budgets=3, sizes=8)
    weights = random_weights(runs, 4000)
    assert weights.min() > 0
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(np.cov(weights.T), np.eye(24), atol=0.15)
    curves = replace(runs, runs=np.repeat(["a", "b", "c"], 8))
    by_curve = random_weights(curves, 5).reshape(5, 3, 8)
    np.testing.assert_array_equal(by_curve, by_curve[:, :, :1] * np.ones(8))
    assert len(random_weights(curves.take(np.arange(16)), 5)) == 0


def test_resamples_without_a_number_are_counted():
    found = [{"alpha": 1.0 + place} | ({"N exponent": 0.5} if place < 8 else {}) for place in range(10)]
    few = percentiles(found, level=0.9)
    assert set(few.intervals) == {"alpha", "N exponent"}
    assert few.notes == ("N exponent: none in 2 of 10 resamples; intervals are of the others",)
    most = percentiles(found[5:], level=0.9)
    assert most.notes == ("N exponent: none in 2 of 5 resamples; intervals are of the others",)
    assert percentiles(found[7:], level=0.9).notes == (
        "N exponent: none in 2 of 3 resamples; too many for an interval",
    )
    assert percentiles(found[:8], level=0.9).notes == ()
    assert not percentiles(found[:8], num_failed=9, level=0.9).intervals  # of the few that can be fitted
    many = [{f"N at 1e{each}": 1.0 for each in range(18, 27)}, *[{"E": 1.0}] * 2]
    (of_sizes, _) = percentiles(many, level=0.9).notes
    assert of_sizes.startswith("N at 1e18, N at 1e19, N at 1e20, N at 1e21 and 5 more: none in 2 of 3")


@hypothesis.given(seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([0.002, 0.05]))
@hypothesis.settings(max_examples=5, deadline=None)
def test_parabolas_of_all_resamples_are_those_of_each(seed, noise):
    """Some budgets of much noise have no lowest point."""
    runs = isoflops(noise=noise, seed=seed, num_budgets=5, sizes=4)
    losses = runs.loss * np.exp(noise * np.random.default_rng(seed).normal(size=(8, len(runs))))
    for loss, found in zip(losses, refit_isoflop(runs, losses), strict=True):
        try:
            alone = METHODS["isoflop"].fit(runs.with_loss(loss))
        except DataError:
            assert found is None
            continue
        sizes, law = found
        assert sizes.numbers == pytest.approx(alone.numbers, rel=1e-9, abs=1e-12)
        assert sizes.tokens(1e22) == pytest.approx(alone.optimum(1e22).tokens, rel=1e-9)
        expected = alone.optimum(1e22).loss
        assert law is None if expected is None else law(1e22) == pytest.approx(expected, rel=1e-9)


def test_residuals_are_of_the_budgets_that_have_an_optimum():
    runs = isoflops(num_budgets=5, noise=0.002)
    loss = runs.loss.copy()
    loss[:8] = 4 - 0.1 * np.log(runs.tokens[:8] / 1e9) ** 2
    used, residuals = isoflop_residuals(fit_isoflop(runs.with_loss(loss)), runs.with_loss(loss))
    np.testing.assert_array_equal(used.params, runs.params[8:])
    assert residuals.leverages.sum() == pytest.approx(4 * 3)
    np.testing.assert_allclose(residuals.fitted * np.exp(residuals.left), used.loss)


def test_no_number_within_the_limit_is_outside_of_its_likelihood_interval():
    """Against random constants near the fit, of which some come close to the ends."""
    runs = isoflops(noise=0.005, num_budgets=5, sizes=4)
    fit = fit_projected(runs)

    def numbers(theta):
        each = replace(fit, theta=theta)
        return each.numbers | {"loss": float(each.loss(np.array([1e10]), np.array([2e11]))[0])}

    found = likelihood_intervals(fit, runs, numbers, level=0.9)
    assert set(found) == set(numbers(fit.theta))
    limit = fit.objective * (1 + 3.0732 / 15)  # F of 1 and 15 degrees of freedom
    slopes = fit.law.log_loss(fit.theta, runs.params, runs.tokens, fit.centre)[1]
    root = np.linalg.cholesky(np.linalg.inv(slopes.T @ slopes))
    rng = np.random.default_rng(0)
    furthest = dict.fromkeys(found, 0.0)
    for way in rng.normal(size=(400, 5)):
        way = root @ way / np.linalg.norm(way)
        theta = fit.theta + np.sqrt(limit - fit.objective) * way
        fitted = replace(fit, theta=theta).loss(runs.params, runs.tokens)
        if np.sum((1 - fitted / runs.loss) ** 2) > limit:
            continue
        for name, value in numbers(theta).items():
            best, interval = numbers(fit.theta)[name], found[name]
            assert interval.low * (1 - 1e-6) <= value <= interval.high * (1 + 1e-6)
            end = interval.high if value > best else interval.low
            furthest[name] = max(furthest[name], (value - best) / (end - best))
    assert min(furthest.values()) > 0.6


def test_ends_of_intervals_are_found_where_the_way_there_is_long():
    """Of nine runs of 3 %, whose sum of squares is a bent valley; as SLSQP finds them."""
    runs = isoflops(noise=0.03, seed=2, num_budgets=3, sizes=3)
    fit = fit_projected(runs)
    limit = fit.objective * (1 + 4.5448 / 4)  # F of 1 and 4 degrees of freedom

    def numbers(theta):
        found = replace(fit, theta=theta)
        return {"N exponent": found.exponents()["N exponent"], "loss": found.optimum(1e22)[2]}

    @np.errstate(over="ignore")
    def room(theta):
        fitted = replace(fit, theta=theta).loss(runs.params, runs.tokens)
        return 1 - np.sum((1 - fitted / runs.loss) ** 2) / limit

    found = likelihood_intervals(fit, runs, numbers, level=0.9)
    assert set(found) == {"N exponent", "loss"}
    for name, interval in found.items():
        for sign, end in ((1, interval.low), (-1, interval.high)):
            best = minimize(
                lambda theta, name=name, sign=sign: sign * numbers(theta)[name],
                fit.theta,
                method="SLSQP",
                bounds=[(-14, 5)] * 3 + [(-5, 2)] * 2,
                constraints={"type": "ineq", "fun": room},
                options={"maxiter": 500, "ftol": 1e-10},
            )
            assert end == pytest.approx(sign * best.fun, rel=1e-4)


def test_what_the_runs_do_not_bound_ends_where_no_such_number_is_beyond():
    """Losses that do not depend on parameters say nothing of alpha, and much of beta and of losses nearby."""
    runs = isoflops(num_budgets=3, sizes=4)
    errors = 0.01 * np.random.default_rng(0).normal(size=len(runs))
    runs = runs.with_loss((1.8 + 2085.0 / runs.tokens**0.37) * np.exp(errors))
    fit = fit_projected(runs)

    def numbers(theta):
        found = replace(fit, theta=theta)
        return found.constants | {"loss": float(found.loss(np.array([1e9]), np.array([1e10]))[0])}

    found = likelihood_intervals(fit, runs, numbers, level=0.9)
    for name in ("alpha", "A"):
        assert (found[name].low, found[name].high) == (0.0, np.inf)
    for name, truth in (("beta", 0.37), ("loss", 1.8 + 2085.0 / 1e10**0.37)):
        assert 0.8 * truth < found[name].low < found[name].high < 1.2 * truth
