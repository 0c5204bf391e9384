"""How a model knows where a token stands: each kind with what it needs, and what it says of itself."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from t5lite.core.errors import ConfigError
from t5lite.models.config.checks import check_finite, check_positive

_SCALING = "positions.scaling."


class Positions:
    """What a kind of positions says of itself; by default nothing."""

    @property
    def stack_bias(self) -> "RelativePositions | None":
        """The bias of attention logits of which all layers of a stack share one table."""
        return None

    @property
    def layer_bias(self) -> "RelativePositions | None":
        """The bias of attention logits of which every layer has a table."""
        return None

    @property
    def adds_sines(self) -> bool:
        """Whether sines are added to the embedded tokens."""
        return False

    def num_rows(self, max_length: int) -> int:
        """Return the rows of a learned table that is added to the embedded tokens; 0 without one."""
        del max_length
        return 0

    def rotation(self, *, windowed: bool) -> "RotaryPositions | None":
        """Return what a layer with or without a window turns queries and keys by."""
        del windowed
        return None

    def check(self, *, head_dim: int, embed_dim: int) -> None:
        """Check that the positions go with a model's sizes.

        Raises:
          ConfigError: if they do not.
        """


@dataclass(frozen=True, kw_only=True)
class RelativePositions(Positions):
    """T5's bias of attention logits by distance (Raffel et al. 2020, section 2.1)."""

    num_buckets: int = 32
    """Half of them for each direction where both are visible."""
    max_distance: int = 128
    """Distance in tokens from which all positions share the last bucket."""
    per_layer: bool = False
    """One table a layer (umT5), not one a stack."""

    def __post_init__(self) -> None:
        if self.num_buckets < 4 or self.num_buckets % 4:
            raise ConfigError(f"positions.num_buckets={self.num_buckets} must be a positive multiple of 4")
        if self.max_distance <= self.num_buckets // 2:
            raise ConfigError(
                f"positions.max_distance={self.max_distance} must exceed the {self.num_buckets // 2} "
                f"distances that have a bucket of their own (num_buckets={self.num_buckets}); raise it or "
                "use fewer buckets"
            )

    @property
    def stack_bias(self) -> "RelativePositions | None":
        """Itself, unless every layer has a table."""
        return None if self.per_layer else self

    @property
    def layer_bias(self) -> "RelativePositions | None":
        """Itself, if every layer has a table."""
        return self if self.per_layer else None


@dataclass(frozen=True, kw_only=True)
class LearnedPositions(Positions):
    """A learned vector a position, ``max_length`` of the model many."""

    offset: int = 0
    """Rows of the table that come before position 0 (2 in OPT and RoBERTa)."""

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ConfigError(f"positions.offset={self.offset} must not be negative")

    def num_rows(self, max_length: int) -> int:
        """Return the rows of the table."""
        return max_length + self.offset


@dataclass(frozen=True, kw_only=True)
class SinusoidalPositions(Positions):
    """Sines and cosines that are added to the embedded tokens (Vaswani et al. 2017)."""

    @property
    def adds_sines(self) -> bool:
        """Yes."""
        return True

    def check(self, *, head_dim: int, embed_dim: int) -> None:
        """Check that sines and cosines come in pairs."""
        del head_dim
        if embed_dim % 2:
            raise ConfigError(f"embed_dim={embed_dim} must be even: a sine and a cosine each")


@dataclass(frozen=True, kw_only=True)
class Unscaled:
    """Rotary frequencies as they are."""

    def scaled(self, frequencies: Any) -> Any:
        """Return the frequencies, an array of radians a token."""
        return frequencies


@dataclass(frozen=True, kw_only=True)
class LinearScaling:
    """All rotary frequencies divided, which stretches the context (Chen et al. 2023)."""

    factor: float

    def __post_init__(self) -> None:
        check_finite(self, "factor", within=_SCALING)

    def scaled(self, frequencies: Any) -> Any:
        """Return the frequencies, an array of radians a token."""
        return frequencies / self.factor


@dataclass(frozen=True, kw_only=True)
class Llama3Scaling:
    """Long wavelengths stretched, short ones kept, those between blended (Llama 3.1)."""

    factor: float = 8.0
    low_frequency_factor: float = 1.0
    """Wavelengths above ``original_max_length`` over this are stretched in full."""
    high_frequency_factor: float = 4.0
    """Wavelengths below ``original_max_length`` over this are kept."""
    original_max_length: int = 8192

    def __post_init__(self) -> None:
        check_finite(self, "factor", "low_frequency_factor", "high_frequency_factor", within=_SCALING)
        check_positive(self, "original_max_length", within=_SCALING)
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ConfigError(
                f"low_frequency_factor={self.low_frequency_factor} must be below "
                f"high_frequency_factor={self.high_frequency_factor}"
            )

    def scaled(self, frequencies: Any) -> Any:
        """Return the frequencies, an array of radians a token."""
        turns = self.original_max_length * frequencies / (2 * math.pi)
        low, high = self.low_frequency_factor, self.high_frequency_factor
        kept = ((turns - low) / (high - low)).clip(0.0, 1.0)
        return (1.0 - kept) * (frequencies / self.factor) + kept * frequencies


RotaryScaling: TypeAlias = Unscaled | LinearScaling | Llama3Scaling


@dataclass(frozen=True, kw_only=True)
class RotaryPositions(Positions):
    """Queries and keys turned by their position (Su et al. 2021)."""

    base: float = 10_000.0
    """Of the wavelengths."""
    local_base: float | None = None
    """Of layers with a window; None: the same, with the same scaling."""
    scaling: RotaryScaling = Unscaled()

    def __post_init__(self) -> None:
        check_finite(self, "base", "local_base", within="positions.")

    def check(self, *, head_dim: int, embed_dim: int) -> None:
        """Check that what is turned comes in pairs."""
        del embed_dim
        if head_dim % 2:
            raise ConfigError(f"head_dim={head_dim} must be even: rotary positions turn pairs")

    def rotation(self, *, windowed: bool) -> "RotaryPositions":
        """Return what a layer with or without a window turns by."""
        if not windowed or self.local_base is None:
            return RotaryPositions(base=self.base, scaling=self.scaling)
        return RotaryPositions(base=self.local_base)


PositionKind: TypeAlias = RelativePositions | LearnedPositions | SinusoidalPositions | RotaryPositions
