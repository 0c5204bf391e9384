"""The loss that each recipe of configs/reproductions begins with, beside ln V and what was published.

    python -m benchmarks.initial_losses                      # all of them, minutes
    python -m benchmarks.initial_losses megatron_t5_220m

One row of random ids of the recipe's lengths, in float32 without dropout: a fresh model has learnt nothing,
so that text would not change it much. It is the only part of a published curve that a CPU reaches.
"""

import argparse
import math
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

from t5lite import run_config
from t5lite.models.config import Execution
from t5lite.models.functional import build
from t5lite.run_config import RunConfig
from t5lite.training.step import make_eval_step

PUBLISHED = {"megatron_t5_220m": "10.344 (step 1)", "nanot5": "59.881 (step 100)"}
"""By the source in the recipe's header."""


def initial_loss(config: RunConfig) -> float:
    """Return the loss per target of a fresh model, in nats."""
    model = build(config.model, Execution())
    shapes = config.data.batch_spec(config.model.architecture).shapes(1)
    rng = np.random.default_rng(0)
    batch = {}
    for name, (shape, dtype) in shapes.items():
        drawn = (
            rng.integers(2, config.model.vocab_size, shape) if name.endswith("_tokens") else np.ones(shape)
        )
        if name.endswith("_token_types"):
            drawn = np.zeros(shape)
        batch[name] = jnp.asarray(drawn, dtype)
    params = jax.jit(model.init)(jax.random.key(0))
    step = make_eval_step(model, sentinel_ids=jnp.zeros(0, jnp.int32), eos_id=None)
    return float(jax.jit(step)(params, batch)["loss"].mean())


def main() -> None:
    """Print a row for each recipe that is named."""
    folder = Path(__file__).parents[1] / "configs" / "reproductions"
    recipes = sorted(path.stem for path in folder.glob("*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", nargs="*", choices=recipes)
    print("| recipe | ln V | begins with | published |\n|---|---:|---:|---:|")
    for name in parser.parse_args().recipe or recipes:
        config = run_config.load(folder / f"{name}.py")
        begins = initial_loss(config)
        vocabulary = math.log(config.model.vocab_size)
        print(
            f"| `{name}` | {vocabulary:.3f} | {begins:.3f} | {PUBLISHED.get(name, '')} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
