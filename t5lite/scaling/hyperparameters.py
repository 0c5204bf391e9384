"""How batch size and learning rate follow from a run's size: stated rules, any of which a sweep replaces.

A rule is whatever takes (the run, the recipe it comes from, its tokens) and returns the run as it should be;
these are published ones. Rates are those at the schedule's highest point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from t5lite.core.errors import ConfigError
from t5lite.models.config import ModelConfig, Transfer
from t5lite.run_config import RunConfig
from t5lite.scaling.counting import convention, shape_of

Rule: TypeAlias = Callable[[RunConfig, RunConfig, float], RunConfig]
"""Takes the run with its model, the recipe, and the tokens of the budget; returns the run."""

_ROUNDING = 0.1
"""Of an MLP's width, of the ratio to the model's."""


def with_rate(config: RunConfig, *, batch_size: int, rate: float) -> RunConfig:
    """Return a run with another batch size and highest learning rate."""
    return replace(
        config,
        training=replace(config.training, batch_size=batch_size),
        schedule=config.schedule.scaled(rate=rate / config.schedule.highest),
    )


@dataclass(frozen=True, kw_only=True)
class AsInRecipe:
    """Batch and rate of the recipe for all sizes."""

    def __call__(self, config: RunConfig, recipe: RunConfig, tokens: float) -> RunConfig:
        """Return the run as it is."""
        del recipe, tokens
        return config


@dataclass(frozen=True, kw_only=True)
class PowerOfWidth:
    """The recipe's batch, and its rate times (width / the recipe's width)^exponent."""

    exponent: float = -1.0

    def __call__(self, config: RunConfig, recipe: RunConfig, tokens: float) -> RunConfig:
        """Return the run with its rate."""
        del tokens
        rate = (config.model.embed_dim / recipe.model.embed_dim) ** self.exponent
        return replace(config, schedule=config.schedule.scaled(rate=rate))


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """The recipe's batch, and rates that are those of its model whatever the size (``Transfer``)."""

    depth: bool = False
    """Whether they hold for other numbers of layers, too, for models with ``norm_placement='pre'``; a recipe
    that goes by the rates of another size already says that itself."""

    def __call__(self, config: RunConfig, recipe: RunConfig, tokens: float) -> RunConfig:
        """Return the run with its model's ``transfer``; errors as of ``Transfer.check``.

        Raises:
          ConfigError: if heads or MLPs do not grow as the model does, and for depth, if the recipe's stacks
            have unequal numbers of layers.
        """
        del tokens
        _check_grown(config.model, recipe.model)
        if recipe.model.transfer is not None:
            return replace(config, model=replace(config.model, transfer=recipe.model.transfer))
        counts = {*recipe.model.layer_counts.values()}
        if self.depth and len(counts) > 1:
            raise ConfigError(
                f"Transferred(depth=True): the recipe's stacks have {sorted(counts)} layers; make them "
                "equal, or depth=False"
            )
        transfer = Transfer(embed_dim=recipe.model.embed_dim, num_layers=counts.pop() if self.depth else None)
        return replace(config, model=replace(config.model, transfer=transfer))


def _check_grown(model: ModelConfig, before: ModelConfig) -> None:
    if model.head_dim != before.head_dim:
        raise ConfigError(
            f"Transferred: head_dim={model.head_dim} at width {model.embed_dim}, and the recipe has "
            f"{before.head_dim}; rates transfer to more heads, not to wider ones: give the shapes "
            f"head_dim={before.head_dim}"
        )
    ratios = [each.mlp_dim / each.embed_dim for each in (model, before)]
    if not math.isclose(*ratios, rel_tol=_ROUNDING):
        raise ConfigError(
            f"Transferred: the MLP is {ratios[0]:.3g} times as wide as the model of width {model.embed_dim}, "
            f"and {ratios[1]:.3g} times in the recipe; widths must grow together: give the shapes that ratio"
        )


@dataclass(frozen=True, kw_only=True)
class Porian:
    """Rate 0.0047 n^(-1/3) and a batch of 160 n^(2/3) rows of 2,048 tokens, n = N / 108M without embeddings.

    Source: Porian et al. (2024), as OLMo's ladder has it (Bhagia et al., 2024). Deviation: rows are rounded
    to a multiple, and of another length are as many as make the same tokens.
    """

    multiple_of: int = 8
    """Rows."""

    def __call__(self, config: RunConfig, recipe: RunConfig, tokens: float) -> RunConfig:
        """Return the run with batch and rate."""
        del recipe, tokens
        shape = shape_of(config)
        size = convention("kaplan").params(shape) / 108e6
        rows = 160 * 2048 * size ** (2 / 3) / shape.tokens
        batch_size = max(round(rows / self.multiple_of), 1) * self.multiple_of
        return with_rate(config, batch_size=batch_size, rate=0.0047 * size ** (-1 / 3))


@dataclass(frozen=True, kw_only=True)
class Marin:
    """The power of two of rows that makes about ``num_steps`` steps, and a rate of 0.33 sqrt(rows) / width.

    Source: Marin's isoFLOP sweeps, which halve the batch while the rate is above 0.01. Deviation: the
    optimizer's betas are the recipe's.
    """

    num_steps: int = 1 << 16
    constant: float = 0.33
    max_rate: float = 0.01
    fewest_rows: int = 8

    def __call__(self, config: RunConfig, recipe: RunConfig, tokens: float) -> RunConfig:
        """Return the run with batch and rate.

        Raises:
          ConfigError: if the batch would be below ``fewest_rows``.
        """
        del recipe
        width = config.model.embed_dim
        rows = tokens / (shape_of(config).tokens * self.num_steps)
        most = (self.max_rate * width / self.constant) ** 2
        power = min(math.ceil(math.log2(max(rows, 1))), math.floor(math.log2(max(most, 1))))
        if (batch_size := 1 << power) < self.fewest_rows:
            raise ConfigError(
                f"{tokens:.3g} tokens in {self.num_steps:,} steps, at width {width} and a rate of at most "
                f"{self.max_rate:g}, are batches of {batch_size} rows, below fewest_rows={self.fewest_rows}; "
                "lower num_steps or fewest_rows, or raise the budget"
            )
        return with_rate(config, batch_size=batch_size, rate=self.constant * batch_size**0.5 / width)
