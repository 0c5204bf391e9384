"""Ladders: runs of several sizes under several budgets, a list of RunConfigs from one recipe."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real

from t5lite.core.errors import ConfigError
from t5lite.core.json_changes import json_changes
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig, to_json
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
    _check_goes_by_steps(recipe)
    _check_several(budgets)
    _check_rule(rule)
    return [_rung(recipe, model, budget, rule or AsInRecipe()) for budget in budgets for model in models]


def branches(
    recipe: RunConfig, *, models: Sequence[ModelConfig], budgets: Sequence[Budget], rule: Rule | None = None
) -> list[RunConfig]:
    """Return a run of each model under each budget; those of a model are one run until the first decays.

    Each is the run that it would be alone: the recipe's warm-up, a constant rate, and a decay that takes the
    same part of it as of the recipe. It keeps the checkpoint where its decay begins, and a sweep has the next
    longer one go on from there, so that the constant phase is trained once (``trunks``).

    Args:
      recipe: as of ``ladder``, with a schedule of such phases.
      models: in their sizes (``shapes``).
      budgets: of every model, two or more.
      rule: of batch size and learning rate, which may not go by the budget.

    Raises:
      ConfigError: as of ``ladder``; if the schedule has no constant phase, a budget does not hold its warm-up
        and decay, two budgets are as many steps, or the rule has other settings for them.
    """
    _check_goes_by_steps(recipe)
    _check_several(budgets)
    _check_rule(rule)
    found = [_branches(recipe, model, budgets, rule or AsInRecipe()) for model in models]
    return [run for of_budget in zip(*found, strict=True) for run in of_budget]


def _check_goes_by_steps(recipe: RunConfig) -> None:
    if recipe.training.epochs is not None:
        raise ConfigError(
            f"training.epochs={recipe.training.epochs:g}: a ladder's runs are as long as their budgets; give "
            "the recipe total_steps"
        )


def _check_several(budgets: object) -> None:
    if isinstance(budgets, (Budget, Real)):
        raise ConfigError(f"budgets={budgets} is one; give a list, such as budgets=[s.Flops(flops=1e12)]")


def _check_rule(rule: object) -> None:
    if isinstance(rule, type):
        raise ConfigError(
            f"rule={rule.__name__} is a class; write rule=s.{rule.__name__}(), with parentheses"
        )
    if rule is not None and not callable(rule):
        raise ConfigError(
            f"rule={rule!r} is no rule; give one, such as s.PowerOfWidth(exponent=-0.5), or a function of "
            "(run, recipe, tokens) that returns the run"
        )


def _check_budget(budget: object) -> None:
    if not isinstance(budget, Budget):
        amount = f"{budget:g}" if isinstance(budget, Real) else "1e12"
        raise ConfigError(
            f"budgets holds {budget!r}, which does not say of what; give s.Flops(flops={amount}), or "
            "s.Tokens, s.TokensPerParameter or s.Hours"
        )


def _rung(recipe: RunConfig, model: ModelConfig, budget: Budget, rule: Rule) -> RunConfig:
    config, steps = _sized(recipe, model, budget, rule)
    return replace(
        config,
        training=replace(config.training, total_steps=steps),
        schedule=config.schedule.scaled(steps=steps / config.training.total_steps),
    )


def _branches(
    recipe: RunConfig, model: ModelConfig, budgets: Sequence[Budget], rule: Rule
) -> list[RunConfig]:
    budget_of: dict[int, Budget] = {}
    runs: list[RunConfig] = []
    first = None
    for budget in budgets:
        config, steps = _sized(recipe, model, budget, rule)
        first = first or config
        if changes := [*json_changes(to_json(first), to_json(config))]:
            raise ConfigError(
                f"the rule has other settings for {budget} than for {budgets[0]} at width {model.embed_dim} "
                f"({'; '.join(map(str, changes))}), and branches share what comes before their decay; use a "
                "rule that does not go by tokens, or a ladder"
            )
        if steps in budget_of:
            raise ConfigError(
                f"{budget_of[steps]} and {budget} are both {steps:,} steps at width {model.embed_dim}; leave "
                "one of them out"
            )
        budget_of[steps] = budget
        runs.append(_branch(config, steps, budget))
    return runs


def _branch(config: RunConfig, steps: int, budget: Budget) -> RunConfig:
    try:
        schedule, start = config.schedule.branch(steps, of=config.training.total_steps)
    except ConfigError as error:
        raise ConfigError(f"{budget} at width {config.model.embed_dim}: {error}") from error
    kept = (*config.checkpoints.keep_steps, start)
    return replace(
        config,
        training=replace(config.training, total_steps=steps),
        schedule=schedule,
        checkpoints=replace(config.checkpoints, keep_steps=kept),
    )


def _sized(recipe: RunConfig, model: ModelConfig, budget: Budget, rule: Rule) -> tuple[RunConfig, int]:
    """Return the recipe with a model, batch and rate, and the steps that the budget pays for."""
    _check_budget(budget)
    resized = replace(recipe, model=model)
    pays = budget.steps(resized)
    config = rule(resized, recipe, pays * resized.training.batch_size * shape_of(resized).tokens)
    if not isinstance(config, RunConfig):
        name = getattr(rule, "__name__", type(rule).__name__)
        raise ConfigError(
            f"the rule {name} returned {type(config).__name__}; it must return the run, a RunConfig"
        )
    if config != resized:
        pays = budget.steps(config)
    steps = round(pays)
    if steps < _FEWEST_STEPS:
        raise ConfigError(
            f"{budget} is {pays:.2g} steps of {config.training.batch_size} rows at width "
            f"{model.embed_dim}; raise the budget, or lower the batch size"
        )
    return config, steps
