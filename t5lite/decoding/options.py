"""Options of how texts are written, as ``t5lite generate`` and tasks have them."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from t5lite.core.errors import ConfigError
from t5lite.core.registry import lookup
from t5lite.decoding.config import DecodingConfig, WritingRules
from t5lite.decoding.strategies import STRATEGIES

StrategyName = Literal["greedy", "sampling", "contrastive", "beam", "diverse_beam", "t5x_beam"]


@dataclass(frozen=True, kw_only=True)
class _StrategyOptions:
    """They are given with their strategy alone; whatever is left out is as the strategy has it."""

    strategy: StrategyName | None = None
    """The most probable token each time (greedy, the default); draw them; of the most probable ones that
    which least repeats what is there (contrastive); or follow several texts at once, compared by the
    conventions of transformers (beam) or T5X (t5x_beam), or in groups that avoid each other's tokens
    (diverse_beam)."""
    temperature: float | None = None
    """Sampling: what logits are divided by; below 1 probable tokens become more so (1)."""
    top_k: int | None = None
    """Sampling: among so many of the most probable tokens (all). Strategy contrastive: of so many (4)."""
    top_p: float | None = None
    """Sampling: among the most probable tokens that together have this probability (1)."""
    min_p: float | None = None
    """Sampling: among tokens with at least this share of the most probable one's probability (0)."""
    typical_p: float | None = None
    """Sampling: among the tokens of most expectable surprise that together have this probability (1)."""
    seed: int | None = None
    """Sampling: of what is drawn, which depends on it, on the place of the input and on nothing else (0)."""
    penalty_alpha: float | None = None
    """Strategy contrastive: what likeness to what is there counts; probability counts the rest (0.6)."""
    num_beams: int | None = None
    """Beam search: texts that are followed at once (4)."""
    length_penalty: float | None = None
    """Strategies beam and diverse_beam: texts are compared by log probability over length to this power
    (1)."""
    early_stopping: Literal["true", "false", "never"] | None = None
    """Strategies beam and diverse_beam: done with num_beams texts (true), when none of the present length
    could be better (false), or when none of any length could (never) (false)."""
    num_beam_groups: int | None = None
    """Strategy diverse_beam: groups of equally many of the num_beams (4)."""
    diversity_penalty: float | None = None
    """Strategy diverse_beam: what a token loses of its log probability for each beam of an earlier group
    that takes it (0.5)."""
    alpha: float | None = None
    """Strategy t5x_beam: texts are compared by log probability over ((5 + length) / 6) to this power
    (0.6)."""
    num_return_sequences: int | None = None
    """Sampling and beam search: texts for an input, each a line or an object in .jsonl (1)."""


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(WritingRules, _StrategyOptions):
    """A strategy's options, and then what holds of all of them."""

    @property
    def given(self) -> dict[str, Any]:
        """Options that say something, as a task's ``decoding`` has them; greedy search where it is named."""
        values = {each.name: (getattr(self, each.name), each.default) for each in dataclasses.fields(self)}
        given = {name: value for name, (value, default) in values.items() if value != default}
        return {name: list(each) if isinstance(each, tuple) else each for name, each in given.items()}

    def config(self) -> DecodingConfig:
        """Return what the options say.

        Raises:
          ConfigError: for a value out of range, or an option of another strategy.
        """
        strategy = self.strategy or "greedy"
        kind = lookup(STRATEGIES, strategy, kind="strategy")
        given = {name: value for name in _of_strategies() if (value := getattr(self, name)) is not None}
        for name in given:
            if name not in {field.name for field in dataclasses.fields(kind)}:
                takes = [other for other in STRATEGIES if name in _fields(other)]
                raise ConfigError(
                    f"--{name.replace('_', '-')} is no option of strategy {strategy}; leave it out, or "
                    f"give --strategy {' or '.join(takes)}"
                )
        if (early := given.get("early_stopping")) in ("true", "false"):
            given["early_stopping"] = early == "true"
        rules = {field.name: getattr(self, field.name) for field in dataclasses.fields(WritingRules)}
        return DecodingConfig(strategy=kind(**given), **rules)


def _fields(strategy: str) -> set[str]:
    return {field.name for field in dataclasses.fields(STRATEGIES[strategy])}


def _of_strategies() -> list[str]:
    """Return the options that belong to strategies."""
    own = {name for strategy in STRATEGIES for name in _fields(strategy)}
    return [field.name for field in dataclasses.fields(DecodingOptions) if field.name in own]
