"""How often the intervals of `t5lite scaling fit` hold the truth, over simulated repetitions.

    python -m benchmarks.scaling_coverage --repetitions 200 --resamples 100

Tables of a known law (the constants of Hoffmann et al.'s fit, rounded): budgets (six) from 1e18 to 1e21
FLOPs, of each sizes (eight) from a quarter to four times the best, with normal errors of 1 % of the loss;
``--largest 4`` has those of the largest budget four times as large. ``envelope`` has training curves of half
as many runs, of which each errs by one amount all along; ``repetition`` the same runs once more on fewer
tokens, each of which is seen 2 to 40 times, and predicts a run that sees its tokens ten times; ``kaplan`` the
same sizes with losses of Kaplan et al.'s law.
``--first 100 --repetitions 100`` are the second hundred: shares of parts, times their numbers, add up.
Prints, for every method and number, the share of repetitions whose interval holds it (of those that have
one, and how many of these have an end that the runs do not bound); 0.9 is asked for. What it printed is in
docs/scaling.md.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from t5lite.scaling.methods import METHODS, Asked, loss_name
from t5lite.scaling.observations import Observations

CONSTANTS = {"E": 1.82, "A": 482.0, "B": 2085.0, "alpha": 0.35, "beta": 0.37}
KAPLAN = {"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.095}
"""Of Kaplan et al.'s equations 1.1 and 1.2."""
TOKENS_WORTH, PARAMS_WORTH = 15.0, 5.0
"""Of repetition (Muennighoff et al. found 15.4 and 5.3)."""
AHEAD = 1e22
"""A budget to predict."""


def truth() -> dict[str, float]:
    """Return every number that a method may find of the law."""
    alpha, beta = CONSTANTS["alpha"], CONSTANTS["beta"]
    return CONSTANTS | predicted(loss, exponent=beta / (alpha + beta), params=best_params(AHEAD))


def repetitions_truth() -> dict[str, float]:
    """Return every number of the law of repetition."""
    ahead = held_out_repeating()
    name = loss_name(float(ahead.params[0]), float(ahead.tokens[0]))
    return CONSTANTS | {"R of D": TOKENS_WORTH, "R of N": PARAMS_WORTH, name: float(ahead.loss[0])}


def kaplans_truth() -> dict[str, float]:
    """Return every number of Kaplan's law; its terms are those of A = N_c^ratio, B = D_c and beta = 1."""
    ratio = KAPLAN["alpha_N"] / KAPLAN["alpha_D"]
    exponent = 1 / (1 + ratio)
    params = (ratio * KAPLAN["N_c"] ** ratio / KAPLAN["D_c"] * AHEAD / 6) ** exponent
    found = KAPLAN | {"alpha_C": exponent * KAPLAN["alpha_N"]}
    return found | predicted(kaplans_loss, exponent=exponent, params=params)


def predicted(of: Callable[..., np.ndarray], *, exponent: float, params: float) -> dict[str, float]:
    """Return exponents of the best sizes, those for the budget that is to be predicted, and losses."""
    tokens, ahead = AHEAD / 6 / params, held_out()
    (far,) = of(ahead.params, ahead.tokens)
    return {
        "N exponent": exponent,
        "D exponent": 1 - exponent,
        f"N at {AHEAD:g}": params,
        f"D at {AHEAD:g}": tokens,
        f"loss at {AHEAD:g}": float(of(np.array(params), np.array(tokens))),
        loss_name(float(ahead.params[0]), float(ahead.tokens[0])): float(far),
    }


def best_params(flops: float) -> float:
    """Return the best parameters for so many FLOPs, by the law."""
    alpha, beta = CONSTANTS["alpha"], CONSTANTS["beta"]
    amount = (alpha * CONSTANTS["A"] / (beta * CONSTANTS["B"])) ** (1 / (alpha + beta))
    return float(amount * (flops / 6) ** (beta / (alpha + beta)))


def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the law's losses."""
    by_params = CONSTANTS["A"] / params ** CONSTANTS["alpha"]
    by_tokens = CONSTANTS["B"] / tokens ** CONSTANTS["beta"]
    return CONSTANTS["E"] + by_params + by_tokens


def kaplans_loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the losses of Kaplan's law."""
    by_params = (KAPLAN["N_c"] / params) ** (KAPLAN["alpha_N"] / KAPLAN["alpha_D"])
    return (by_params + KAPLAN["D_c"] / tokens) ** KAPLAN["alpha_D"]


def table(seed: int, *, budgets: int, sizes: int, noise: float = 0.01, largest: float = 1.0) -> Observations:
    """Return a simulated table; errors of the largest budget are ``largest`` times the others'."""
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    around = np.tile(np.geomspace(1 / 4, 4, sizes), budgets)
    params = np.array([best_params(each) for each in flops]) * around
    tokens = flops / 6 / params
    errors = noise * np.random.default_rng(seed).normal(size=len(flops))
    errors[-sizes:] *= largest
    return Observations(params=params, tokens=tokens, flops=flops, loss=loss(params, tokens) * np.exp(errors))


def curves(seed: int, *, budgets: int, sizes: int, noise: float = 0.01, largest: float = 1.0) -> Observations:
    """Return training curves of sizes that are best from the smallest to the largest budget, and beyond.

    All go from the smallest budget to the largest; those of the larger half err ``largest`` times as much.
    """
    ends = best_params(1e18) / 4, best_params(1e21) * 4
    each, num_points = np.geomspace(*ends, budgets * sizes // 2), 20
    errors = noise * np.random.default_rng(seed).normal(size=len(each))
    errors[len(each) // 2 :] *= largest
    params, errors = np.repeat(each, num_points), np.repeat(errors, num_points)
    flops = np.tile(np.geomspace(1e18, 1e21, num_points), len(each))
    tokens = flops / 6 / params
    return Observations(
        params=params,
        tokens=tokens,
        flops=flops,
        loss=loss(params, tokens) * np.exp(errors),
        runs=np.array([f"{size:.6g}" for size in params]),
    )


def repeating(
    seed: int, *, budgets: int, sizes: int, noise: float = 0.01, largest: float = 1.0
) -> Observations:
    """Return the runs of ``table``, and the same on fewer tokens, each of which is seen 2 to 40 times."""
    once = table(seed, budgets=budgets, sizes=sizes, noise=noise, largest=largest)
    unique = once.tokens / np.resize(np.geomspace(2, 40, 5), len(once))
    exact = repeated_loss(once.params, once.tokens, unique)
    errors = noise * np.random.default_rng((seed, 1)).normal(size=len(once))
    errors[-sizes:] *= largest
    twice = {name: np.tile(getattr(once, name), 2) for name in ("params", "tokens", "flops")}
    return Observations(
        **twice,
        loss=np.append(once.loss, exact * np.exp(errors)),
        unique_tokens=np.append(once.tokens, unique),
    )


def repeated_loss(params: np.ndarray, tokens: np.ndarray, unique: np.ndarray) -> np.ndarray:
    """Return the losses of runs on fewer tokens than they see."""
    alpha, beta = CONSTANTS["alpha"], CONSTANTS["beta"]
    best = (alpha * CONSTANTS["A"] / (beta * CONSTANTS["B"]) * unique**beta) ** (1 / alpha)
    return loss(worth(params, np.minimum(params, best), PARAMS_WORTH), worth(tokens, unique, TOKENS_WORTH))


def kaplans(
    seed: int, *, budgets: int, sizes: int, noise: float = 0.01, largest: float = 1.0
) -> Observations:
    """Return the runs of ``table``, which err as much from Kaplan's law."""
    runs = table(seed, budgets=budgets, sizes=sizes, noise=noise, largest=largest)
    errs = runs.loss / loss(runs.params, runs.tokens)
    return runs.with_loss(errs * kaplans_loss(runs.params, runs.tokens))


def worth(amount: np.ndarray, base: np.ndarray, constant: float) -> np.ndarray:
    """Return what an amount is worth, of which ``base`` is new."""
    return base + base * constant * (1 - np.exp(-(amount / base - 1) / constant))


TABLES = {"envelope": curves, "repetition": repeating, "kaplan": kaplans}
"""Of methods that need other tables."""
TRUTHS = {"repetition": repetitions_truth, "kaplan": kaplans_truth}
"""Of methods that find other numbers."""


def held_out() -> Observations:
    """Return a run of three times the largest budget, near its best size."""
    params, tokens = np.array([5e9]), np.array([1e11])
    return Observations(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss(params, tokens))


def held_out_repeating() -> Observations:
    """Return the same run on a tenth of its tokens."""
    once = held_out()
    unique = once.tokens / 10
    return replace(once, unique_tokens=unique, loss=repeated_loss(once.params, once.tokens, unique))


def main() -> None:
    """Simulate, and print the shares as they become known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--budgets", type=int, default=6)
    parser.add_argument("--sizes", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--largest", type=float, default=1.0)
    parser.add_argument("--methods", nargs="+", default=["isoflop", "chinchilla", "projection"])
    known = parser.parse_args()
    expected = {name: TRUTHS.get(name, truth)() for name in known.methods}
    inside, is_open = defaultdict(list), defaultdict(list)
    for seed in range(known.first, known.first + known.repetitions):
        for name in known.methods:
            runs = TABLES.get(name, table)(
                seed, budgets=known.budgets, sizes=known.sizes, noise=known.noise, largest=known.largest
            )
            ahead = held_out_repeating() if name == "repetition" else held_out()
            asked = Asked(budgets=(AHEAD,), runs=(ahead,))
            fitted = METHODS[name].fit(runs)
            found = METHODS[name].intervals(
                fitted, runs, asked=asked, num_resamples=known.resamples, level=0.9
            )
            for number, interval in found.intervals.items():
                inside[name, number].append(expected[name][number] in interval)
                is_open[name, number].append(interval.low == 0 or not np.isfinite(interval.high))
        done = seed + 1 - known.first
        if done % 25 == 0 or done == known.repetitions:
            print(f"{done} repetitions", flush=True)
            for (name, number), each in inside.items():
                unbounded = sum(is_open[name, number])
                said = f"; {unbounded} unbounded" if unbounded else ""
                print(f"  {name:12}{number:32}{np.mean(each):.3f} of {len(each)}{said}", flush=True)


if __name__ == "__main__":
    main()
