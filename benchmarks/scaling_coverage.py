"""How often the intervals of `t5lite scaling fit` hold the truth, over simulated repetitions.

    python -m benchmarks.scaling_coverage --repetitions 200 --resamples 100

Tables of a known law (the constants of Hoffmann et al.'s fit, rounded): budgets (six) from 1e18 to 1e21
FLOPs, of each sizes (eight) from a quarter to four times the best, with normal errors of 1 % of the loss;
``--largest 4`` has those of the largest budget four times as large.
Prints, for every method and number, the share of repetitions whose interval holds it (of those that have
one, and how many of these have an end that the runs do not bound); 0.9 is asked for. What it printed is in
docs/scaling.md.
"""

import argparse
from collections import defaultdict

import numpy as np

from t5lite.scaling.methods import METHODS, Asked, loss_name
from t5lite.scaling.observations import Observations

CONSTANTS = {"E": 1.82, "A": 482.0, "B": 2085.0, "alpha": 0.35, "beta": 0.37}
AHEAD = 1e22
"""A budget to predict."""


def truth() -> dict[str, float]:
    """Return every number that a method may find."""
    alpha, beta = CONSTANTS["alpha"], CONSTANTS["beta"]
    exponent = beta / (alpha + beta)
    params = best_params(AHEAD)
    tokens = AHEAD / 6 / params
    return {
        **CONSTANTS,
        "N exponent": exponent,
        "D exponent": 1 - exponent,
        f"N at {AHEAD:g}": params,
        f"D at {AHEAD:g}": tokens,
        f"loss at {AHEAD:g}": float(loss(np.array(params), np.array(tokens))),
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


def table(seed: int, *, budgets: int, sizes: int, noise: float = 0.01, largest: float = 1.0) -> Observations:
    """Return a simulated table; errors of the largest budget are ``largest`` times the others'."""
    flops = np.repeat(np.geomspace(1e18, 1e21, budgets), sizes)
    around = np.tile(np.geomspace(1 / 4, 4, sizes), budgets)
    params = np.array([best_params(each) for each in flops]) * around
    tokens = flops / 6 / params
    errors = noise * np.random.default_rng(seed).normal(size=len(flops))
    errors[-sizes:] *= largest
    return Observations(params=params, tokens=tokens, flops=flops, loss=loss(params, tokens) * np.exp(errors))


def held_out() -> Observations:
    """Return a run of three times the largest budget, near its best size."""
    params, tokens = np.array([5e9]), np.array([1e11])
    return Observations(params=params, tokens=tokens, flops=6 * params * tokens, loss=loss(params, tokens))


def main() -> None:
    """Simulate, and print the shares as they become known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--budgets", type=int, default=6)
    parser.add_argument("--sizes", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--largest", type=float, default=1.0)
    parser.add_argument("--methods", nargs="+", default=["isoflop", "chinchilla", "projection"])
    known = parser.parse_args()
    ahead = held_out()
    asked = Asked(budgets=(AHEAD,), runs=(ahead,))
    expected = truth() | {loss_name(float(ahead.params[0]), float(ahead.tokens[0])): float(ahead.loss[0])}
    inside, is_open = defaultdict(list), defaultdict(list)
    for seed in range(known.repetitions):
        runs = table(seed, budgets=known.budgets, sizes=known.sizes, noise=known.noise, largest=known.largest)
        for name in known.methods:
            fitted = METHODS[name].fit(runs)
            found = METHODS[name].intervals(
                fitted, runs, asked=asked, num_resamples=known.resamples, level=0.9
            )
            for number, interval in found.intervals.items():
                inside[name, number].append(expected[number] in interval)
                is_open[name, number].append(interval.low == 0 or not np.isfinite(interval.high))
        if (seed + 1) % 25 == 0 or seed + 1 == known.repetitions:
            print(f"{seed + 1} repetitions", flush=True)
            for (name, number), each in inside.items():
                unbounded = sum(is_open[name, number])
                said = f"; {unbounded} unbounded" if unbounded else ""
                print(f"  {name:12}{number:32}{np.mean(each):.3f} of {len(each)}{said}", flush=True)


if __name__ == "__main__":
    main()
