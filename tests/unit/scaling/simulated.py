"""Tables of runs that follow a known law."""

import numpy as np

from t5lite.scaling.observations import Observations

E, A, B, ALPHA, BETA = 1.82, 482.0, 2085.0, 0.35, 0.37
N_EXPONENT = BETA / (ALPHA + BETA)


def best_params(flops: float) -> float:
    amount = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return amount * (flops / 6) ** N_EXPONENT


def law(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return E + A / params**ALPHA + B / tokens**BETA


def isoflops(*, noise: float = 0.0, seed: int = 0, num_budgets: int = 6, sizes: int = 8) -> Observations:
    """Budgets from 1e18 to 1e21 FLOPs, of each sizes from a quarter to four times the best."""
    flops = np.repeat(np.geomspace(1e18, 1e21, num_budgets), sizes)
    around = np.tile(np.geomspace(1 / 4, 4, sizes), num_budgets)
    params = np.array([best_params(each) for each in flops]) * around
    tokens = flops / 6 / params
    errors = noise * np.random.default_rng(seed).normal(size=len(flops))
    return Observations(params=params, tokens=tokens, flops=flops, loss=law(params, tokens) * np.exp(errors))


def repeating(once: Observations, unique: np.ndarray, *, errors: np.ndarray | float = 0.0) -> Observations:
    """Runs, and the same again on ``unique`` tokens; R of tokens is 15, of parameters 5."""
    base = np.minimum(once.params, (ALPHA * A / (BETA * B) * unique**BETA) ** (1 / ALPHA))
    worths = _worth(once.params, base, 5.0), _worth(once.tokens, unique, 15.0)
    twice = {name: np.tile(getattr(once, name), 2) for name in ("params", "tokens", "flops")}
    return Observations(
        **twice,
        loss=np.append(once.loss, law(*worths) * np.exp(errors)),
        unique_tokens=np.append(once.tokens, unique),
    )


def _worth(amount: np.ndarray, base: np.ndarray, constant: float) -> np.ndarray:
    return base + base * constant * (1 - np.exp(-(amount / base - 1) / constant))
