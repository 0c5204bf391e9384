"""Learning-rate schedules: functions of the number of completed updates, in float32.

Linear warm-ups use ``(step + 1) / warmup_steps``: the first update already moves, unlike optax's and
T5X's, whose first rate is 0.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.optim.base import ScheduleFn


class _OneLength:
    """A schedule whose runs of several lengths have no constant phase in common."""

    def branch(self, total_steps: int, *, of: int) -> tuple["Schedule", int]:
        """Raise: see ``WarmupStableDecay.branch``."""
        del total_steps, of
        raise ConfigError(
            f"schedule={type(self).__name__} has no constant phase that ends in a decay, which runs of "
            "several lengths could share; give the recipe schedule=WarmupStableDecay(…)"
        )


@dataclass(frozen=True, kw_only=True)
class Constant(_OneLength):
    """The same rate throughout, after an optional linear warm-up (T5 fine-tuning: 1e-3)."""

    value: float = 1e-3
    """Learning rate."""
    warmup_steps: int = 0
    """Updates of linear warm-up."""

    def __post_init__(self) -> None:
        _require_positive("value", self.value)
        _require_steps("warmup_steps", self.warmup_steps)

    def build(self, total_steps: int) -> ScheduleFn:
        """Return the schedule of a run of ``total_steps`` updates."""
        _require_fit("warmup_steps", self.warmup_steps, total_steps)
        return lambda step: self.value * _warmup(step, self.warmup_steps)

    @property
    def highest(self) -> float:
        """The highest rate."""
        return self.value

    def scaled(self, *, rate: float = 1.0, steps: float = 1.0) -> "Constant":
        """Return it with ``rate`` times the rates, for a run of ``steps`` times the steps."""
        return replace(self, value=self.value * rate, warmup_steps=_part(self.warmup_steps, steps))


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(_OneLength):
    """``base / sqrt(max(step, warmup_steps))``, T5's pretraining schedule (flat 0.01 for 10k steps)."""

    base: float = 1.0
    """Factor; the highest rate is base / sqrt(warmup_steps)."""
    warmup_steps: int = 10_000
    """Updates before the decay sets in."""
    warmup: Literal["flat", "linear"] = "flat"
    """Whether the rate is at its height during warm-up (T5, Adafactor) or rises to it (AdamW)."""
    decay_steps: int = 0
    """Updates at the end of the run over which a linear decay to 0 multiplies it (T5 1.1: the last tenth)."""

    def __post_init__(self) -> None:
        _require_positive("base", self.base)
        _require_steps("warmup_steps", self.warmup_steps, least=1)
        _require_steps("decay_steps", self.decay_steps)

    def build(self, total_steps: int) -> ScheduleFn:
        """Return the schedule; without ``decay_steps`` a run may be shorter than ``warmup_steps``."""
        _require_fit("decay_steps", self.decay_steps, total_steps)
        rising = self.warmup_steps if self.warmup == "linear" else 0
        first = total_steps - self.decay_steps

        def schedule(step: Any) -> jax.Array:
            count = jnp.asarray(step, jnp.float32)
            rate = self.base * jax.lax.rsqrt(jnp.maximum(count, self.warmup_steps)) * _warmup(step, rising)
            return rate * (1 - _progress(step, first, total_steps)) if self.decay_steps else rate

        return schedule

    @property
    def highest(self) -> float:
        """The rate until the decay sets in."""
        return self.base / self.warmup_steps**0.5

    def scaled(self, *, rate: float = 1.0, steps: float = 1.0) -> "InverseSqrt":
        """Return it with ``rate`` times the highest rate, for a run of ``steps`` times the steps."""
        warmup_steps = _part(self.warmup_steps, steps)
        return replace(
            self,
            base=self.highest * rate * warmup_steps**0.5,
            warmup_steps=warmup_steps,
            decay_steps=_part(self.decay_steps, steps),
        )


@dataclass(frozen=True, kw_only=True)
class WarmupCosine(_OneLength):
    """Linear warm-up to ``peak``, then half a cosine down to ``peak * final_fraction``."""

    peak: float
    """Highest learning rate."""
    warmup_steps: int = 1000
    """Updates of linear warm-up."""
    final_fraction: float = 0.0
    """Rate at the end, as a fraction of the peak."""

    def __post_init__(self) -> None:
        _require_positive("peak", self.peak)
        _require_steps("warmup_steps", self.warmup_steps)
        _require_fraction("final_fraction", self.final_fraction)

    def build(self, total_steps: int) -> ScheduleFn:
        """Return the schedule of a run of ``total_steps`` updates."""
        _require_fit("warmup_steps", self.warmup_steps, total_steps)

        def schedule(step: Any) -> jax.Array:
            done = _progress(step, self.warmup_steps, total_steps)
            decayed = self.final_fraction + (1 - self.final_fraction) * 0.5 * (1 + jnp.cos(jnp.pi * done))
            return self.peak * _warmup(step, self.warmup_steps) * decayed

        return schedule

    @property
    def highest(self) -> float:
        """The peak."""
        return self.peak

    def scaled(self, *, rate: float = 1.0, steps: float = 1.0) -> "WarmupCosine":
        """Return it with ``rate`` times the rates, for a run of ``steps`` times the steps."""
        return replace(self, peak=self.peak * rate, warmup_steps=_part(self.warmup_steps, steps))


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
    """Linear warm-up to ``peak``, constant, then linear decay over the last ``decay_steps``."""

    peak: float
    """Highest learning rate."""
    decay_steps: int
    """Updates of linear decay at the end of the run."""
    warmup_steps: int = 1000
    """Updates of linear warm-up."""
    final_fraction: float = 0.0
    """Rate at the end, as a fraction of the peak."""

    def __post_init__(self) -> None:
        _require_positive("peak", self.peak)
        _require_steps("decay_steps", self.decay_steps, least=1)
        _require_steps("warmup_steps", self.warmup_steps)
        _require_fraction("final_fraction", self.final_fraction)

    def build(self, total_steps: int) -> ScheduleFn:
        """Return the schedule of a run of ``total_steps`` updates."""
        _require_fit("warmup_steps + decay_steps", self.warmup_steps + self.decay_steps, total_steps)

        def schedule(step: Any) -> jax.Array:
            done = _progress(step, total_steps - self.decay_steps, total_steps)
            return self.peak * _warmup(step, self.warmup_steps) * (1 - (1 - self.final_fraction) * done)

        return schedule

    @property
    def highest(self) -> float:
        """The peak."""
        return self.peak

    def scaled(self, *, rate: float = 1.0, steps: float = 1.0) -> "WarmupStableDecay":
        """Return it with ``rate`` times the rates, for a run of ``steps`` times the steps."""
        return replace(
            self,
            peak=self.peak * rate,
            warmup_steps=_part(self.warmup_steps, steps),
            decay_steps=_part(self.decay_steps, steps),
        )

    def branch(self, total_steps: int, *, of: int) -> tuple["Schedule", int]:
        """Return it for a run of another length, and the step at which its decay begins.

        The decay takes the same part of the run. The warm-up is as it is, so that runs of all lengths are one
        run until the first of them decays (Hu et al., 2024, MiniCPM; Hägele et al., 2024).

        Args:
          total_steps: of the run.
          of: the length that this schedule is for.

        Raises:
          ConfigError: if warm-up and decay do not fit, or a schedule has no such phase.
        """
        decay_steps = _part(self.decay_steps, total_steps / of)
        start = total_steps - decay_steps
        if start < max(self.warmup_steps, 1):
            raise ConfigError(
                f"{total_steps:,} steps do not hold a warm-up of {self.warmup_steps:,} and a decay of "
                f"{decay_steps:,}; raise the budget, or shorten them"
            )
        return replace(self, decay_steps=decay_steps), start


Schedule: TypeAlias = InverseSqrt | WarmupCosine | Constant | WarmupStableDecay

SCHEDULES: dict[str, type[Schedule]] = {kind.__name__: kind for kind in get_args(Schedule)}
"""Every schedule by the name that ``config.json`` has as its ``type``."""


def _warmup(step: Any, warmup_steps: int) -> jax.Array:
    return jnp.minimum(1.0, (jnp.asarray(step, jnp.float32) + 1) / max(warmup_steps, 1))


def _part(steps: int, factor: float) -> int:
    """Return a part's steps in a longer or shorter run; parts never sum up to more than it, nor vanish."""
    return max(int(steps * factor * (1 + 1e-12)), min(steps, 1))


def _progress(step: Any, first: int, last: int) -> jax.Array:
    """Return how far ``step`` is from ``first`` (0) to ``last`` (1)."""
    return jnp.clip((jnp.asarray(step, jnp.float32) - first) / max(last - first, 1), 0.0, 1.0)


def _require_positive(name: str, value: float) -> None:
    if not value > 0 or value == float("inf"):
        raise ConfigError(f"schedule.{name}={value} must be a finite number above 0")


def _require_steps(name: str, value: int, *, least: int = 0) -> None:
    if value < least:
        raise ConfigError(f"schedule.{name}={value} must be {least} or more")


def _require_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"schedule.{name}={value} must be between 0 and 1")


def _require_fit(name: str, steps: int, total_steps: int) -> None:
    if steps > total_steps:
        raise ConfigError(
            f"schedule: {name}={steps} is more than training.total_steps={total_steps}; "
            f"use at most {total_steps}, or train for longer"
        )
