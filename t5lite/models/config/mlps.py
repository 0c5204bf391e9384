"""The kinds of a layer's MLP."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from t5lite.models.config.checks import check_choice

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
"""relu, exact gelu, its tanh approximation, or x * sigmoid(x)."""


@dataclass(frozen=True, kw_only=True)
class PlainMLP:
    """f(x W) Wo."""

    activation: Activation = "relu"
    bias: bool = False

    num_inputs = 1

    def __post_init__(self) -> None:
        check_choice("mlp.activation", self.activation, get_args(Activation))


@dataclass(frozen=True, kw_only=True)
class GatedMLP:
    """(f(x W0) * (x W1)) Wo (Shazeer 2020): T5 1.1 with gelu_tanh, SwiGLU with silu."""

    activation: Activation = "gelu_tanh"
    bias: bool = False

    num_inputs = 2

    def __post_init__(self) -> None:
        check_choice("mlp.activation", self.activation, get_args(Activation))


MLPKind: TypeAlias = PlainMLP | GatedMLP
