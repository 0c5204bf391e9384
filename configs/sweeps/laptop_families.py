"""Span corruption, causal LM and masked LM, six sizes under five budgets: 90 runs, a night on a laptop's CPU.

    t5lite prepare text --inputs my_text/*.txt --output data/mine --vocabulary-size 2048
    t5lite sweep configs/sweeps/laptop_families.py --list
    t5lite sweep configs/sweeps/laptop_families.py
    t5lite scaling fit sweeps/laptop/table.parquet --by family

Widths of 16 to 96 with a layer (in each stack) for every 48, to either side of what is best for each budget,
about the square root of FLOPs / 120 parameters (58 to 231 thousand). Batches of 16, so that every run makes
100 steps or more; rates of the recipes at half the power of the width. With 200 MB of text every run stays
below one epoch (of GPT and BERT alone, with 110 MB). Of less, --list says which runs repeat it; fits leave
them out. docs/sweeps.md has what is printed.
"""

from pathlib import Path

from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s

CONFIGS = Path(__file__).parents[1]
FAMILIES = {"t5": "pretrain_laptop.py", "gpt": "pretrain_gpt.py", "bert": "pretrain_bert.py"}
WIDTHS = (16, 32, 48, 64, 80, 96)
BUDGETS = (4e11, 8e11, 1.6e12, 3.2e12, 6.4e12)


def runs(recipe: r.RunConfig) -> list[r.RunConfig]:
    """Return the ladder of a recipe."""
    return s.ladder(
        recipe,
        models=s.constant_aspect(recipe.model, WIDTHS, aspect=48, head_dim=16),
        budgets=[s.Flops(flops=flops) for flops in BUDGETS],
        rule=s.PowerOfWidth(exponent=-0.5),
    )


def sweep() -> s.Sweep:
    """Return the sweep; copy this file and change what you need."""
    recipes = {
        family: s.recipe(str(CONFIGS / name), "--training.batch-size", "16")
        for family, name in FAMILIES.items()
    }
    return s.Sweep(
        directory="sweeps/laptop", families={family: runs(recipe) for family, recipe in recipes.items()}
    )
