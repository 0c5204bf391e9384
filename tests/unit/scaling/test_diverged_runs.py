"""Runs that went wrong are named with what leaves them out, and no fit predicts what no run can have."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.cli.scaling_command import Arguments
from t5lite.core.errors import ConfigError, DataError
from t5lite.scaling.analysis import Settings, analyse, warnings
from t5lite.scaling.diverged import diverged
from t5lite.scaling.intervals import percentiles
from t5lite.scaling.isoflop import fit_isoflop
from t5lite.scaling.methods import METHODS
from t5lite.scaling.observations import Observations
from t5lite.scaling.tables import Reading
from tests.unit.scaling.simulated import isoflops

ASKED = Settings(budgets=(1e22,), num_resamples=20)


def with_losses(losses: dict[int, float]) -> Observations:
    runs = isoflops(noise=0.002, num_budgets=5, sizes=5)
    changed = runs.loss.copy()
    changed[list(losses)] = list(losses.values())
    return runs.with_loss(changed)


def said_of(losses: dict[int, float]) -> str:
    return " ".join(warnings(with_losses(losses), Settings()))


@pytest.mark.parametrize("losses", [{4: 11.0}, {0: 500.0}, {2: 11.0, 14: 7.0}, {8: 9.0, 9: 11.0}])
def test_runs_far_above_their_budget_are_named_with_what_leaves_them_out(losses, tmp_path):
    runs, file = with_losses(losses), tmp_path / "runs.csv"
    said, worst = said_of(losses), max(losses, key=lambda run: losses[run])
    assert said.startswith(f"{len(losses)} of 25 runs have losses more than 1.5 times what other runs allow")
    assert f"(worst {losses[worst]:.4g}, at N={runs.params[worst]:.4g}, D={runs.tokens[worst]:.4g})" in said
    rows = [f"{n},{d},{loss}" for n, d, loss in zip(runs.params, runs.tokens, runs.loss, strict=True)]
    file.write_text("\n".join(["params,tokens,loss", *rows]), encoding="utf-8")
    bound = float(said.partition("--loss-below ")[2].split()[0])
    (table,) = Reading(loss_below=bound).tables(str(file)).values()
    assert len(table.observations) == 25 - len(losses)
    assert f"{len(losses)} of 25 rows left out: losses of {bound:g} or more" in table.notes
    assert "--loss-below" not in " ".join(warnings(table.observations, Settings()))
    with pytest.raises(DataError, match=r"no row that can be used: .*losses of 1 or more"):
        Reading(loss_below=1).tables(str(file))


def test_wide_profiles_curves_and_most_of_a_budget_are_no_divergence():
    wide = isoflops().params / 30
    assert warnings(isoflops(), Settings()) == []
    assert "diverged" not in said_of(dict.fromkeys(range(4), 11.0))
    runs = isoflops(sizes=24)
    rising = 2 * np.exp(np.abs(np.log(runs.params / np.median(runs.params))) / 3)
    assert "diverged" not in " ".join(warnings(runs.with_loss(rising), Settings()))
    curve = Observations(params=wide, tokens=wide, flops=wide, loss=wide, runs=np.repeat(["a", "b"], 24))
    assert "diverged" not in " ".join(warnings(curve, Settings()))


@pytest.mark.parametrize("elsewhere", ["repeats tokens", "is held out", "is of another table"])
@pytest.mark.parametrize("loss", [9.0, 12.0])
def test_a_bound_leaves_no_other_row_out(elsewhere, loss):
    """It acts on rows that no law is fitted to, too."""
    runs, asked, highest = with_losses({4: 11.0}), Settings(), 0.0
    if elsewhere == "is of another table":
        highest = loss
    elif elsewhere == "is held out":
        runs, asked = runs.with_loss(np.where(np.arange(25) == 24, loss, runs.loss)), Settings(fit_below=9e20)
    else:
        unique = np.where(np.arange(25) == 24, runs.tokens / 1e3, runs.tokens)
        runs = replace(runs.with_loss(np.where(np.arange(25) == 24, loss, runs.loss)), unique_tokens=unique)
    (said,) = [each for each in warnings(runs, asked, highest=highest) if "diverged" in each]
    if loss < 11:
        assert loss < float(said.partition("--loss-below ")[2].split()[0]) <= 11
    else:
        row = f"N={runs.params[4]:.6g}, D={runs.tokens[4]:.6g}, loss 11"
        assert said.endswith(
            f"take their rows out of the table, since other runs have such losses, too: {row}"
        )


@st.composite
def ladders(draw):
    """Runs of some law and 1 % noise, each of up to eight times the parameters of the one before."""
    alpha, beta = draw(st.floats(0.2, 0.45)), draw(st.floats(0.2, 0.45))
    floor, log_a, log_b = draw(st.floats(1.0, 2.5)), draw(st.floats(5.0, 9.0)), draw(st.floats(6.0, 11.0))
    steps = draw(st.lists(st.floats(1.3, 8.0), min_size=3, max_size=7))
    sizes = draw(st.floats(1e4, 1e9)) * np.cumprod([1.0, *steps])
    if draw(st.booleans()):
        budgets = draw(st.floats(1e16, 1e21)) * np.array([1.0, 8.0])
        params, flops = np.tile(sizes, 2), np.repeat(budgets, len(sizes))
        tokens = flops / 6 / params
    else:
        params, tokens = sizes, draw(st.floats(1.0, 200.0)) * sizes
    loss = floor + (10**log_a / params) ** alpha + (10**log_b / tokens) ** beta
    errors = np.random.default_rng(draw(st.integers(0, 99))).normal(size=len(loss)) * 0.01
    return Observations(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss * np.exp(errors))


@given(runs=ladders())
@settings(max_examples=150, deadline=None)
def test_no_honest_run_of_a_sparse_ladder_is_named(runs):
    assert not diverged(runs).any()


@pytest.mark.parametrize("of_budgets", [True, False])
@pytest.mark.parametrize("spacing", [2.0, 8.0])
def test_a_spike_is_named_wherever_it_is(spacing, of_budgets):
    """Hoffmann et al.'s law, by which the smallest of these have 1.7 times the loss of the next."""
    params = 1e6 * spacing ** np.arange(5)
    tokens = 20 * params
    if of_budgets:
        params, flops = np.tile(params, 2), np.repeat([1e19, 1e20], 5)
        tokens = flops / 6 / params
    loss = 1.69 + 406.4 / params**0.34 + 410.7 / tokens**0.28
    runs = Observations(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss)
    assert not diverged(runs).any()
    for spike in range(len(params)):
        is_spike = np.arange(len(params)) == spike
        is_between = of_budgets and 0 < spike % 5 < 4
        spiked = runs.with_loss(loss * np.where(is_spike, 3 if is_between else 6, 1))
        np.testing.assert_array_equal(diverged(spiked), is_spike)


def test_a_loss_that_is_too_low_accuses_no_other():
    runs = isoflops(sizes=5)
    low = runs.loss * np.where(np.arange(len(runs)) == 7, 0.15, 1)
    assert not diverged(runs.with_loss(low)).any()


def test_a_budget_whose_parabola_dips_below_0_is_left_out_and_its_loss_never_predicted():
    runs = with_losses({24: 40.0})
    found = analyse(runs, METHODS["isoflop"], ASKED)
    assert found.numbers["loss at 1e+22"] > 2
    assert found.intervals["loss at 1e+22"].low > 0
    assert any(
        "lowest point near them and above a loss of 0: budgets of 1e+21" in note for note in found.notes
    )
    assert all(profile.loss > 0 for profile in fit_isoflop(runs).profiles)


def test_a_prediction_above_what_a_cheaper_run_has_reached_is_none():
    runs = isoflops(noise=0.002, num_budgets=5, sizes=5)
    runs = runs.with_loss(runs.loss * (runs.flops / 1e18) ** 0.15)
    found = analyse(runs, METHODS["isoflop"], ASKED)
    assert found.intervals["loss at 1e+22"].low > 1.05 * runs.loss.min()
    assert any(f"the loss at 1e+22 is above {runs.loss.min():.4g}" in note for note in found.notes)


@pytest.mark.parametrize("num_resamples", [20, 0])
def test_a_prediction_among_the_noise_of_cheaper_runs_is_one(num_resamples, monkeypatch):
    """The lowest of noisy losses is below the law's of a budget that hardly costs more."""
    if not num_resamples:
        monkeypatch.setattr(
            type(METHODS["isoflop"]), "intervals", lambda *_, **__: percentiles([], level=0.9)
        )
    asked, is_above = Settings(budgets=(1.05e21,), num_resamples=20), []
    for seed in range(8):
        runs = isoflops(noise=0.01, seed=seed)
        found = analyse(runs, METHODS["isoflop"], asked)
        is_above.append(found.numbers["loss at 1.05e+21"] > runs.loss.min())
        assert not any("none to go by" in note for note in found.notes)
    assert any(is_above)


def test_a_bound_of_the_loss_is_above_0():
    with pytest.raises(ConfigError, match="loss_below=0: losses are above 0"):
        Arguments(table="runs.csv", loss_below=0)
