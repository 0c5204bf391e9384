"""The schemes of initial values."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from t5lite.models.config.checks import check_finite

Kind = Literal["embedding", "query", "key_value", "attention_out", "mlp_in", "mlp_out", "dense", "logits"]
"""What a kernel is for; T5X scales each by its fan-in, with its own distribution."""
RESIDUAL_OUTPUTS = ("attention_out", "mlp_out")


@dataclass(frozen=True, kw_only=True)
class T5Initializer:
    """T5X's scales, a kernel a kind."""

    def relative_std(self, kind: Kind, shape: tuple[float, ...], num_layers: int) -> float:
        """Return the standard deviation of a shape's initial values, but for a factor of the kind's."""
        del num_layers
        return 1.0 if kind == "embedding" else shape[0] ** -0.5


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

    def relative_std(self, kind: Kind, shape: tuple[float, ...], num_layers: int) -> float:
        """Return the standard deviation of a shape's initial values, but for a factor of the kind's."""
        del shape
        return (2 * num_layers) ** -0.5 if self.scaled_outputs and kind in RESIDUAL_OUTPUTS else 1.0


@dataclass(frozen=True, kw_only=True)
class XavierInitializer:
    """Glorot uniform kernels, embeddings N(0, 1/D) (Vaswani et al. 2017, tensor2tensor)."""

    def relative_std(self, kind: Kind, shape: tuple[float, ...], num_layers: int) -> float:
        """Return the standard deviation of a shape's initial values, but for a factor of the kind's."""
        del num_layers
        return shape[-1] ** -0.5 if kind == "embedding" else math.sqrt(2 / (shape[0] + shape[-1]))


Initializer: TypeAlias = T5Initializer | NormalInitializer | XavierInitializer
