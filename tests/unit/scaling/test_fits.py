"""Fits find the law that made a table, and say when they cannot."""

from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy.optimize import minimize_scalar, nnls

from t5lite.core.errors import DataError
from t5lite.scaling import repetition
from t5lite.scaling.analysis import Settings, analyse, described, warnings
from t5lite.scaling.envelope import fit_envelope
from t5lite.scaling.intervals import draws, refitted
from t5lite.scaling.isoflop import fit_isoflop
from t5lite.scaling.laws import LAWS, Centre
from t5lite.scaling.loss_of_compute import fit_loss_of_compute
from t5lite.scaling.methods import METHODS, Asked
from t5lite.scaling.observations import Observations, budget_numbers
from t5lite.scaling.parametric import fit_law
from t5lite.scaling.repetition import fit_repetition, refits
from t5lite.scaling.variable_projection import fit_projected, likelihood_intervals
from tests.unit.scaling import simulated
from tests.unit.scaling.simulated import ALPHA, BETA, N_EXPONENT, A, B, E, isoflops, repeating


def likelihood_of(found, runs):
    def numbers(theta):
        return replace(found, theta=theta).numbers

    return likelihood_intervals(found, runs, numbers, level=0.9)


CONSTANTS = {"E": E, "A": A, "B": B, "alpha": ALPHA, "beta": BETA}


@pytest.mark.parametrize("fit", [lambda runs: fit_law(LAWS["chinchilla"], runs), fit_projected])
def test_the_constants_of_a_law_are_found(fit):
    found = fit(isoflops())
    assert found.constants == pytest.approx(CONSTANTS, rel=1e-3)
    assert found.numbers["N exponent"] == pytest.approx(N_EXPONENT, abs=1e-4)
    params, tokens, loss = found.optimum(1e23)
    assert params == pytest.approx(simulated.best_params(1e23), rel=1e-3)
    assert params * tokens == pytest.approx(1e23 / 6)
    assert loss == pytest.approx(simulated.law(np.array(params), np.array(tokens)), rel=1e-5)


@pytest.mark.parametrize("fit", [lambda runs: fit_law(LAWS["chinchilla"], runs), fit_projected])
@pytest.mark.parametrize("excess", [-0.2, 0.0, 0.15])
def test_the_best_sizes_are_those_that_a_budget_pays_for(fit, excess):
    """Where a parameter and token cost more, or less, in larger models."""
    runs = isoflops()
    runs = replace(runs, flops=6 * runs.params * runs.tokens * (runs.params / 1e8) ** excess)
    found = fit(runs)
    params, tokens, _ = found.optimum(1e22)
    assert 6 * params * tokens * (params / 1e8) ** excess == pytest.approx(1e22, rel=1e-6)
    sizes = np.geomspace(params / 3, params * 3, 2001)
    paid = 1e22 / (6 * sizes * (sizes / 1e8) ** excess)
    assert sizes[np.argmin(simulated.law(sizes, paid))] == pytest.approx(params, rel=0.01)
    exponent = BETA / (ALPHA + BETA * (1 + excess))
    assert found.exponents()["N exponent"] == pytest.approx(exponent, abs=1e-4)
    assert found.exponents()["D exponent"] == pytest.approx(1 - (1 + excess) * exponent, abs=1e-4)
    is_shown = fit is fit_projected and excess > 0
    intervals = likelihood_of(found, runs) if is_shown else {}
    for name, interval in intervals.items():
        value = (CONSTANTS | found.exponents())[name]
        assert (interval.low, interval.high) == (pytest.approx(value, rel=0.02),) * 2


def test_the_constants_of_kaplans_law_are_found():
    runs = isoflops()
    loss = ((8.8e13 / runs.params) ** (0.076 / 0.095) + 5.4e13 / runs.tokens) ** 0.095
    found = fit_law(LAWS["kaplan"], runs.with_loss(loss))
    expected = {"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095}
    assert found.constants == pytest.approx(expected, rel=1e-3)
    low, high = (found.optimum(flops)[2] for flops in (1e22, 1e24))
    assert found.numbers["alpha_C"] == pytest.approx(np.log(low / high) / np.log(100))
    assert found.numbers["alpha_C"] == pytest.approx(1 / (1 / 0.076 + 1 / 0.095), rel=1e-3)
    far = found.loss(np.array([1e9, 1e60]), np.array([1e60, 1e11]))
    assert far == pytest.approx([(8.8e13 / 1e9) ** 0.076, (5.4e13 / 1e11) ** 0.095], rel=1e-3)
    (limits,) = found.law.limits(expected | {"alpha_C": 0.04222})
    assert limits.startswith(
        "L(N) = (8.8e+13 / N)^0.076 with tokens without end, L(D) = (5.4e+13 / D)^0.095 "
    )
    assert "falls with C^-0.0422" in limits


@pytest.mark.parametrize("name", LAWS)
@hypothesis.given(seed=st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=20)
def test_derivatives_are_those_of_finite_differences(name, seed):
    rng = np.random.default_rng(seed)
    law, centre = LAWS[name], Centre(params=1e8, tokens=1e9, loss=2.0)
    theta = rng.normal(size=law.num_constants) * 0.5 - 1
    params, tokens = 1e8 * np.exp(rng.normal(size=7)), 1e9 * np.exp(rng.normal(size=7))
    _, slopes = law.log_loss(theta, params, tokens, centre)
    for place in range(len(theta)):
        step = 1e-6 * np.eye(len(theta))[place]
        after, before = (law.log_loss(theta + sign * step, params, tokens, centre)[0] for sign in (1, -1))
        np.testing.assert_allclose(slopes[:, place], (after - before) / 2e-6, atol=1e-7)


def test_a_run_that_went_wrong_does_not_move_the_huber_fit():
    runs = isoflops()
    wrong = runs.loss.copy()
    wrong[5] *= 1.5
    assert fit_law(LAWS["chinchilla"], runs.with_loss(wrong)).constants == pytest.approx(CONSTANTS, rel=0.02)


def test_vertices_of_parabolas_are_found_exactly():
    """As Llama 3's: the best tokens grow with a power of 0.53."""
    flops = np.repeat([6e18, 1e20, 1e22], 5)
    best = 0.3 * flops**0.53
    tokens = best * np.tile([0.2, 0.5, 1.1, 2.0, 6.0], 3)
    loss = 2 + 0.05 * np.log(tokens / best) ** 2 - 0.02 * np.log(flops / 1e18)
    found = fit_isoflop(Observations(params=flops / 6 / tokens, tokens=tokens, flops=flops, loss=loss))
    assert found.tokens.exponent == pytest.approx(0.53, abs=1e-9)
    assert found.tokens.coefficient == pytest.approx(0.3, rel=1e-6)
    assert found.params.exponent == pytest.approx(0.47, abs=1e-9)
    for profile, at in zip(found.profiles, (6e18, 1e20, 1e22), strict=True):
        assert profile.loss == pytest.approx(2 - 0.02 * np.log(at / 1e18))
        assert np.polyval(profile.curve, np.log(profile.tokens)) == pytest.approx(profile.loss)


def test_a_budget_without_a_lowest_point_is_left_out_and_said():
    runs = isoflops(num_budgets=5)
    loss = runs.loss.copy()
    loss[:8] = 4 - 0.1 * np.log(runs.tokens[:8] / 1e9) ** 2
    found = fit_isoflop(runs.with_loss(loss))
    assert (len(found.profiles), found.left_out) == (4, pytest.approx((1e18,)))
    notes = analyse(runs.with_loss(loss), METHODS["isoflop"], Settings(num_resamples=20)).notes
    assert any("left out" in note and "1e+18" in note for note in notes)


def test_budgets_that_hardly_tell_how_much_they_err_are_said():
    few = METHODS["isoflop"].fit(isoflops(noise=0.002, sizes=5)).notes()
    assert any(note.startswith("budgets of fewer than 6 runs (6 of 6) hardly tell") for note in few)
    assert not METHODS["isoflop"].fit(isoflops(noise=0.002, sizes=6)).notes()


def test_budgets_are_told_from_a_cloud():
    assert budget_numbers(isoflops()).max() == 5
    rng = np.random.default_rng(0)
    cloud = Observations(
        *(), **{name: np.exp(rng.normal(size=60)) for name in ("params", "tokens", "flops", "loss")}
    )
    assert budget_numbers(cloud) is None


def test_the_envelope_follows_training_curves():
    """Of a law whose runs follow it all the way, so that the lowest run at each cost is the best size."""
    curves = []
    for params in np.geomspace(1e7, 1e9, 40):
        tokens = np.geomspace(1e8, 1e11, 60)
        curves.append((np.full(60, params), tokens, np.full(60, f"{params:g}")))
    params, tokens, runs = (np.concatenate(each) for each in zip(*curves, strict=True))
    loss = simulated.law(params, tokens)
    table = Observations(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss, runs=runs)
    inside = (table.flops > 2e17) & (table.flops < 1e20)  # where the best size is among those tried
    found = fit_envelope(table.take(inside))
    assert found.params.exponent == pytest.approx(N_EXPONENT, abs=0.02)
    assert found.tokens.exponent == pytest.approx(1 - N_EXPONENT, abs=0.02)


def test_the_worth_of_repetitions_is_found():
    once = isoflops(num_budgets=4)
    unique = once.tokens / np.random.default_rng(0).uniform(2, 60, len(once))
    runs = repeating(once, unique)
    found = fit_repetition(runs)
    assert (found.tokens_worth, found.params_worth) == (
        pytest.approx(15, rel=0.02),
        pytest.approx(5, rel=0.02),
    )
    np.testing.assert_allclose(found.residuals, 0, atol=1e-3)
    ends = replace(found, tokens_worth=np.exp(20.0), params_worth=np.exp(-20.0)).numbers
    assert (ends["R of D"], ends["R of N"]) == (np.inf, 0.0)
    weights = np.random.default_rng(0).exponential(size=(2, len(runs)))
    for fit in refits(found, runs, weights):
        assert fit().numbers == pytest.approx(found.numbers, rel=0.05)  # whatever counts, the law holds
    notes = analyse(runs, METHODS["chinchilla"], Settings(num_resamples=20)).notes
    assert notes[0].startswith(f"{len(once)} runs that repeat tokens left out")


def test_the_loss_of_compute_has_a_floor():
    flops = np.geomspace(1e18, 1e22, 7)
    losses = [1.7 + 30 * flops**-0.08, 30 * flops**-0.08 - 0.3, 2 + 1e-23 * flops]
    law, no_floor, flat = fit_loss_of_compute(flops, np.array(losses))
    assert (no_floor.floor, flat.amount, flat.floor) == (0.0, 0.0, pytest.approx(np.mean(losses[2])))
    for each, measured in zip((law, no_floor), losses, strict=False):
        middle = np.exp(np.mean(np.log(flops)))
        best = minimize_scalar(
            lambda log, measured=measured, middle=middle: nnls(
                np.stack([np.ones(7), (flops / middle) ** -np.exp(log)], axis=1), measured
            )[1],
            bounds=(np.log(0.005), 0),
            method="bounded",
        )
        assert each.exponent == pytest.approx(np.exp(best.x), rel=1e-3)
    assert (law.floor, law.exponent) == (pytest.approx(1.7, rel=1e-3), pytest.approx(0.08, rel=1e-3))
    assert fit_loss_of_compute(flops[:3], flops[None, :3]) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["isoflop", "projection"])
def test_intervals_hold_the_truth_as_often_as_they_say(name):
    """Of 24 repetitions at 90 %, fewer than 17 have a probability of 0.4 %; widths are those of errors."""
    truth = CONSTANTS | {"N exponent": N_EXPONENT, "D exponent": 1 - N_EXPONENT}
    inside, widths = {}, []
    for seed in range(24):
        runs = isoflops(noise=0.01, seed=seed, num_budgets=5, sizes=4)
        found = (
            METHODS[name]
            .intervals(METHODS[name].fit(runs), runs, asked=Asked(), num_resamples=60, level=0.9)
            .intervals
        )
        widths.append(found["N exponent"].high - found["N exponent"].low)
        for number, interval in found.items():
            inside.setdefault(number, []).append(truth[number] in interval)
    assert {"N exponent", "D exponent"} <= inside.keys()
    assert min(map(np.sum, inside.values())) >= 17
    assert np.median(widths) < 0.2  # 0.29 by drawing runs from budgets of four


def test_the_largest_budget_is_predicted_and_what_is_far_is_said():
    runs = isoflops(noise=0.002)
    settings = Settings(budgets=(1e24,), num_resamples=20)
    for name in ("isoflop", "chinchilla"):
        found = analyse(runs, METHODS[name], settings)
        assert found.numbers["N at 1e+24"] == pytest.approx(simulated.best_params(1e24), rel=0.6)
        interval = found.intervals["N at 1e+24"]
        assert interval.low < found.numbers["N at 1e+24"] < interval.high
        said = " ".join(found.notes)
        assert "fitted without the budget of 1e+21 FLOPs" in said
        assert "largest run" not in said  # once for all methods
    assert "parabolas miss the N exponent" in said
    (warned,) = warnings(runs, settings)
    assert warned == (
        "1e+24 FLOPs are 1,000 times the largest run: an extrapolation, which intervals understate"
    )


@pytest.mark.parametrize("num_largest", [1, 2])
def test_one_or_two_runs_of_the_largest_budget_are_held_out(num_largest):
    runs = isoflops(noise=0.002).take(np.arange(40 + num_largest))
    said = " ".join(analyse(runs, METHODS["projection"], Settings(num_resamples=3)).notes)
    assert f"fitted without the budget of 1e+21 FLOPs: loss of {num_largest} points missed by" in said
    said = " ".join(analyse(runs, METHODS["isoflop"], Settings(num_resamples=3)).notes)
    assert "fitted without the budget of 1e+21 FLOPs: no vertex of its own" in said


def test_why_nothing_checks_a_fit_is_said():
    said = " ".join(analyse(isoflops(num_budgets=2), METHODS["isoflop"], Settings(num_resamples=3)).notes)
    assert "not fitted without the budget of 1e+21 FLOPs, so that nothing checks it: isoFLOP" in said


@pytest.mark.slow
def test_runs_from_a_cost_on_are_predicted_one_by_one():
    runs = isoflops(noise=0.002)
    settings = Settings(fit_below=2e20, sizes=((1e10, 1e12),), num_resamples=20)
    found = analyse(runs, METHODS["projection"], settings)
    below = analyse(runs.take(runs.flops < 2e20), METHODS["projection"], Settings(num_resamples=3))
    assert {name: found.numbers[name] for name in below.numbers} == below.numbers
    assert [each.loss for each in found.held_out] == runs.loss[runs.flops >= 2e20].tolist()
    for each in found.held_out:
        assert each.predicted == pytest.approx(each.loss, rel=0.02)
        assert each.interval.low < each.predicted < each.interval.high
    predicted = found.numbers["loss at N=1e+10, D=1e+12"]
    assert predicted == pytest.approx(simulated.law(np.array(1e10), np.array(1e12)), rel=0.01)
    assert any(note.startswith("held out: loss of 16 points missed by") for note in found.notes)
    found = analyse(runs, METHODS["isoflop"], settings)
    assert (found.held_out, found.fitted.fit.profiles[-1].flops) == ((), pytest.approx(6.3e19, rel=0.01))
    assert any("16 runs held out; the loss of such runs is nothing" in note for note in found.notes)


@pytest.mark.slow
@hypothesis.given(
    st.lists(
        st.tuples(*[st.floats(1e-3, 1e6)] * 3, st.sampled_from([1e3, 1e4, 1e5])), min_size=1, max_size=14
    )
)
@hypothesis.settings(max_examples=15)
def test_any_table_is_fitted_or_refused_in_words(rows):
    params, tokens, loss, flops = np.array(rows).T
    runs = Observations(params=params, tokens=tokens, flops=flops, loss=loss)
    for name in ("envelope", "isoflop", "projection"):
        found = analyse(runs, METHODS[name], Settings(num_resamples=3))
        assert found.fitted or found.notes
        if name == "projection" and found.fitted:
            for number in ("alpha", "beta", "E"):
                if number not in found.intervals:
                    assert any("no interval" in note for note in found.notes)
                    continue
                interval, value = found.intervals[number], found.numbers[number]
                assert interval.low <= value * 1.001
                assert interval.high >= value * 0.999


def test_a_number_that_few_resamples_determine_has_no_interval():
    """With four budgets a resample without one of the optima has no law of the loss."""
    runs = isoflops(noise=0.05, num_budgets=4, sizes=4)
    found = analyse(runs, METHODS["isoflop"], Settings(budgets=(1e22,), num_resamples=40))
    assert "N exponent" in found.intervals
    always, rarely = iter(range(10)), iter(range(10))

    def numbers(_):
        return {"always": float(next(always))} | ({"rarely": 1.0} if next(rarely) < 3 else {})

    again = refitted(numbers, [runs] * 10, level=0.9)
    assert set(again.intervals) == {"always"}
    assert again.notes == ("rarely: none in 7 of 10 resamples; too many for an interval",)


def test_too_few_runs_are_refused():
    few = isoflops().take(np.arange(5))
    for name in LAWS:
        with pytest.raises(DataError, match="runs do not determine"):
            fit_law(LAWS[name], few.take(np.arange(4)))
    for name in ("params", "flops"):
        alike = replace(isoflops(), **{name: np.full(48, 1e8)})
        for fit in (fit_projected, lambda runs: fit_law(LAWS["kaplan"], runs)):
            with pytest.raises(DataError, match=f"all runs have the same {name} .1e.08., of which no law"):
                fit(alike)
    with pytest.raises(DataError, match="has a lowest point"):  # nothing but rounding
        fit_isoflop(isoflops().with_loss(np.full(48, 3.0)))
    with pytest.raises(DataError, match="two budgets"):
        fit_isoflop(few)
    with pytest.raises(DataError, match="curves"):
        fit_envelope(few)
    with pytest.raises(DataError, match="unique tokens"):
        fit_repetition(few)
    with pytest.raises(DataError, match="0 runs repeat"):
        fit_repetition(replace(few, unique_tokens=few.tokens))


def test_runs_that_follow_a_law_exactly_have_intervals_around_it():
    """Of a table computed from a law; its intervals have no width to speak of."""
    runs = isoflops()
    found = likelihood_of(fit_projected(runs), runs)
    for name, interval in found.items():
        truth = (CONSTANTS | {"N exponent": N_EXPONENT, "D exponent": 1 - N_EXPONENT})[name]
        assert interval.low == pytest.approx(truth, rel=0.02)
        assert interval.high == pytest.approx(truth, rel=0.02)


def test_a_wrong_value_is_outside_of_a_profile_interval():
    runs = isoflops(noise=0.01)
    found = likelihood_of(fit_projected(runs), runs)
    for name, wrong in {"alpha": 0.2, "beta": 0.7, "E": 1.2, "N exponent": 0.4}.items():
        assert wrong not in found[name]


def test_runs_that_all_repeat_tokens_are_left_to_repetition():
    runs = isoflops()
    repeating = replace(runs, unique_tokens=runs.tokens / 4)
    for name in ("isoflop", "chinchilla"):
        found = analyse(repeating, METHODS[name], Settings(num_resamples=20))
        assert (found.fitted, found.notes[0][:7]) == (None, "48 runs")
    found = analyse(repeating, METHODS["repetition"], Settings(num_resamples=20))
    assert found.notes == (
        "0 runs repeat nothing, and the law of such runs has 5 constants; 6 of them are needed",
    )


@pytest.mark.slow
def test_runs_that_repeat_tokens_can_be_kept():
    runs = isoflops(noise=0.002)
    repeating = replace(runs, unique_tokens=np.where(np.arange(48) < 8, runs.tokens / 2, runs.tokens))
    left, kept = Settings(num_resamples=3), Settings(num_resamples=3, keep_repeats=True)
    method = METHODS["projection"]
    once = runs.take(np.arange(8, 48))
    assert analyse(repeating, method, left).numbers == analyse(once, method, left).numbers
    assert analyse(repeating, method, kept).numbers == analyse(runs, method, left).numbers
    assert described(repeating, left).startswith("40 runs, 5 budgets, FLOPs 3.98e+18")
    assert described(repeating, left).endswith("; 8 more that repeat tokens")
    assert described(repeating, kept) == described(runs, left)


@pytest.mark.parametrize(("place", "value", "name"), [(2, -1e4, "B"), (3, np.log(1e-6), "alpha")])
def test_repetition_is_not_told_where_one_term_is_nothing(place, value, name, monkeypatch):
    """As of a resample of runs that all differ in one size alone."""
    runs = isoflops()
    found = fit_law(LAWS["chinchilla"], runs)
    nothing = replace(found, theta=np.where(np.arange(5) == place, value, found.theta))
    monkeypatch.setattr(repetition, "fit_law", lambda law, runs: nothing)
    some_repeat = replace(runs, unique_tokens=np.where(np.arange(48) < 8, runs.tokens / 2, runs.tokens))
    with pytest.raises(DataError, match=f"do not determine {name}, by which"):
        fit_repetition(some_repeat)


def test_a_worth_that_no_run_tells_of_is_not_reported():
    """Small models: none has more parameters than are best for its unique tokens."""
    once = isoflops(num_budgets=4)
    few = once.take(np.arange(0, len(once), 8))  # the smallest of each budget
    more = replace(few, tokens=4 * few.tokens, flops=4 * few.flops, unique_tokens=few.tokens)
    worth = few.tokens + few.tokens * 15.0 * (1 - np.exp(-3 / 15.0))
    names = ("params", "tokens", "flops")
    runs = Observations(
        **{name: np.concatenate([getattr(once, name), getattr(more, name)]) for name in names},
        loss=np.concatenate([once.loss, simulated.law(few.params, worth)]),
        unique_tokens=np.concatenate([once.tokens, few.tokens]),
    )
    found = analyse(runs, METHODS["repetition"], Settings(num_resamples=3))
    assert found.numbers["R of D"] == pytest.approx(15, rel=0.05)
    assert "R of N" not in found.numbers
    assert any("R of N is not determined" in note for note in found.notes)


def test_a_law_without_a_best_size_predicts_none():
    """Of losses that tokens alone decide."""
    runs = isoflops()
    found = analyse(
        runs.with_loss(1.8 + 500 / runs.tokens**0.3),
        METHODS["projection"],
        Settings(budgets=(1e22,), num_resamples=3),
    )
    assert not {"N exponent", "N at 1e+22"} & found.numbers.keys()
    assert any("no size is best" in note for note in found.notes)


def test_runs_of_several_experiments_are_suspected():
    runs = isoflops(noise=0.01)
    both = runs.with_loss(np.where(np.arange(len(runs)) % 2, runs.loss, 0.3 * runs.loss))
    found = analyse(both, METHODS["projection"], Settings(num_resamples=3))
    assert any("are they of one experiment?" in note for note in found.notes)
    interval = found.intervals["E"]
    assert interval.low <= found.numbers["E"] <= interval.high


def test_points_of_one_training_are_resampled_together():
    runs = isoflops(noise=0.01)
    curves = replace(runs, runs=np.array([f"run {number // 8}" for number in range(len(runs))]))
    drawn = [sorted(curves.runs[which].tolist()) for which in draws(curves, 5)]
    assert len(drawn) == 5
    assert all(names.count(name) % 8 == 0 for names in drawn for name in names)
    assert not draws(curves.take(np.arange(16)), 5)
