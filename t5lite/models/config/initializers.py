"""The schemes of initial values."""

from dataclasses import dataclass
from typing import TypeAlias

from t5lite.models.config.checks import check_finite


@dataclass(frozen=True, kw_only=True)
class T5Initializer:
    """T5X's scales, a kernel a kind."""


@dataclass(frozen=True, kw_only=True)
class NormalInitializer:
    """N(0, std)."""

    std: float = 0.02
    """Standard deviation."""
    scaled_outputs: bool = False
    """Divide that of the residual branches' outputs by sqrt(2 layers) (GPT-2)."""
    truncated: bool = False
    """Cut at two standard deviations (ModernBERT)."""

    def __post_init__(self) -> None:
        check_finite(self, "std", within="initializer.")


@dataclass(frozen=True, kw_only=True)
class XavierInitializer:
    """Glorot uniform kernels, embeddings N(0, 1/D) (Vaswani et al. 2017, tensor2tensor)."""


Initializer: TypeAlias = T5Initializer | NormalInitializer | XavierInitializer
