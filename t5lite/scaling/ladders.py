"""A ladder: runs of several sizes under several budgets, a list of RunConfigs from one recipe."""

from collections.abc import Sequence
from dataclasses import replace

from t5lite.core.errors import ConfigError
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig
from t5lite.scaling.budgets import Budget
from t5lite.scaling.counting import shape_of
from t5lite.scaling.hyperparameters import AsInRecipe, Rule

_FEWEST_STEPS = 10
"""So that rounding to a step keeps a budget within 5 %."""


def ladder(
    recipe: RunConfig, *, models: Sequence[ModelConfig], budgets: Sequence[Budget], rule: Rule | None = None
) -> list[RunConfig]:
    """Return a run of each model under each budget, with the smallest budget first.

    The warm-up and the decay of the schedule take the same part of every run as they take of the recipe.

    Args:
      recipe: of which everything is that is not said here; its ``training.total_steps`` is the length that
        its schedule is for.
      models: in their sizes (``shapes``).
      budgets: of every model.
      rule: of batch size and learning rate (``hyperparameters``); by default they are the recipe's.

    Raises:
      ConfigError: if the recipe goes by epochs, a budget does not pay for ten steps, or the numbers make no
        run.
    """
    if recipe.training.epochs is not None:
        raise ConfigError(
            f"training.epochs={recipe.training.epochs:g}: a ladder's runs are as long as their budgets; give "
            "the recipe total_steps"
        )
    return [_rung(recipe, model, budget, rule or AsInRecipe()) for budget in budgets for model in models]


def _rung(recipe: RunConfig, model: ModelConfig, budget: Budget, rule: Rule) -> RunConfig:
    resized = replace(recipe, model=model)
    pays = budget.steps(resized)
    config = rule(resized, recipe, pays * resized.training.batch_size * shape_of(resized).tokens)
    if config != resized:
        pays = budget.steps(config)
    steps = round(pays)
    if steps < _FEWEST_STEPS:
        raise ConfigError(
            f"{budget} is {pays:.2g} steps of {config.training.batch_size} rows at width "
            f"{model.embed_dim}; raise the budget, or lower the batch size"
        )
    return replace(
        config,
        training=replace(config.training, total_steps=steps),
        schedule=config.schedule.scaled(steps=steps / config.training.total_steps),
    )
