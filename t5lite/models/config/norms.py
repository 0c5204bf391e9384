"""The two kinds of norm."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from t5lite.models.config.checks import check_finite

NormPlacement = Literal["pre", "post", "around"]
"""x + f(norm(x)) with a norm after the last layer; norm(x + f(x)) of 2017 and BERT; or x + norm(f(norm(x)))
with a norm after the last layer (Gemma 2)."""


@dataclass(frozen=True, kw_only=True)
class RMSNorm:
    """x / rms(x) * scale, without mean or bias (Zhang & Sennrich 2019)."""

    epsilon: float = 1e-6
    """Added to the mean square."""
    one_plus: bool = False
    """Multiply by 1 + scale, which starts at 0 (Gemma); Adafactor moves that slowly (``optim.adafactor``)."""

    def __post_init__(self) -> None:
        check_finite(self, "epsilon", within="norm.")

    centred = False
    bias = False

    def num_parameters(self, dim: int) -> int:
        """Return the parameters of one norm over ``dim`` features."""
        return dim


@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """(x - mean) / std * scale + bias (Ba et al. 2016)."""

    epsilon: float = 1e-6
    """Added to the variance."""
    bias: bool = True

    def __post_init__(self) -> None:
        check_finite(self, "epsilon", within="norm.")

    centred = True
    one_plus = False

    def num_parameters(self, dim: int) -> int:
        """Return the parameters of one norm over ``dim`` features."""
        return dim * (2 if self.bias else 1)


NormKind: TypeAlias = RMSNorm | LayerNorm
