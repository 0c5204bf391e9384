"""Chinchilla's isoFLOP profiles: nine budgets of 6e18 to 3e21 FLOPs, 60 runs in sizes of its table A9.

    t5lite prepare text --inputs texts/*.jsonl.zst --output data/web32k --vocabulary-size 32000
    t5lite sweep configs/sweeps/chinchilla_ladder.py --list
    t5lite cost --config configs/sweeps/chinchilla_ladder.py --chips v5e-256 --price 1.2
    t5lite sweep configs/sweeps/chinchilla_ladder.py
    t5lite scaling fit sweeps/chinchilla/table.parquet --methods isoflop chinchilla

Source: Hoffmann et al. 2022, section 3.2 and table A9, whose names count Transformer-XL's positions (d x d a
layer), which T5's relative bias stands for here. Held to: N grows with C^0.49 and D with C^0.51 (approach 2).
The rest is as in configs/reproductions/chinchilla_1018m.py. Ours: which of the table's sizes a budget has
(those within a factor of 4 of (C / 120)^0.5), and that the peak falls from 2e-4 at 44M to 1.25e-4 at 16B
along a line in the logarithm of the size; the paper gives its ends.
"""

import math
from pathlib import Path

from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s

RECIPE = Path(__file__).parents[1] / "reproductions" / "chinchilla_1018m.py"
SIZES = {  # millions of parameters: width, heads, layers
    74: (640, 10, 10),
    117: (768, 12, 12),
    175: (896, 14, 14),
    251: (1024, 16, 16),
    425: (1280, 10, 18),
    632: (1536, 12, 19),
    1018: (1792, 14, 23),
    1429: (2048, 16, 25),
    2007: (2304, 18, 28),
    2980: (2560, 20, 34),
    4516: (3072, 24, 36),
    6796: (3584, 28, 40),
    9293: (4096, 32, 42),
    16183: (5120, 40, 47),
}
GATHERED_UP_TO = 4516
"""Millions of parameters: kernels of more, if kept as they are gathered, fill a v5e chip."""
BUDGETS = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)


def sized(recipe: r.RunConfig, millions: int) -> r.RunConfig:
    """Return the recipe with a model of table A9 and its learning rate."""
    width, heads, layers = SIZES[millions]
    model = s.resized(recipe.model, embed_dim=width, num_layers=layers, num_heads=heads)
    done = math.log(millions / 44) / math.log(16183 / 44)
    rate = 2e-4 * (1.25e-4 / 2e-4) ** done
    recipe = s.with_rate(recipe, batch_size=recipe.training.batch_size, rate=rate)
    execution = r.replace(recipe.execution, remat="dots") if millions > GATHERED_UP_TO else recipe.execution
    return r.replace(recipe, model=model, execution=execution)


def profile(recipe: r.RunConfig, flops: float) -> list[r.RunConfig]:
    """Return the runs of one budget, by 6 N D with the table's N."""
    best = (flops / 120) ** 0.5 / 1e6
    near = [millions for millions in SIZES if best / 4 <= millions <= best * 4]
    tokens = {millions: s.Tokens(tokens=flops / (6e6 * millions)) for millions in near}
    rungs = [(sized(recipe, millions), tokens[millions]) for millions in near]
    return [run for each, budget in rungs for run in s.ladder(each, models=[each.model], budgets=[budget])]


def sweep() -> s.Sweep:
    """Return the sweep; copy this file and change what you need."""
    recipe = s.recipe(str(RECIPE))
    runs = [run for flops in BUDGETS for run in profile(recipe, flops)]
    return s.Sweep(directory="sweeps/chinchilla", families={"chinchilla": runs})
