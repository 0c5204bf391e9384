"""What sweeps are written with beside ``t5lite.recipe``: ``from t5lite.scaling import sweep_recipe as s``."""

from t5lite.core.storage.addresses import place
from t5lite.run_config import RunConfig, load
from t5lite.scaling.budgets import Flops, Hours, Tokens, TokensPerParameter
from t5lite.scaling.hyperparameters import (
    AsInRecipe,
    Marin,
    Porian,
    PowerOfWidth,
    Rule,
    Transferred,
    with_rate,
)
from t5lite.scaling.ladders import branches, ladder
from t5lite.scaling.shapes import constant_aspect, marin, named, olmo, resized
from t5lite.scaling.sweeps import Sweep

__all__ = [
    "AsInRecipe", "Flops", "Hours", "Marin", "Porian", "PowerOfWidth", "Rule", "Sweep", "Tokens",
    "TokensPerParameter", "Transferred", "branches", "constant_aspect", "ladder", "marin", "named", "olmo",
    "recipe", "resized", "with_rate",
]  # fmt: skip


def recipe(path: str, *overrides: str) -> RunConfig:
    """Return a recipe, a path from where the command runs, with overrides as on the command line.

    Raises:
      ConfigError: if the file, an override or a value cannot be used.
    """
    return load(place(path), overrides)
