"""The decoder-only Transformer's configuration."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from t5lite.core.errors import ConfigError
from t5lite.models.config.attention import AttentionConfig
from t5lite.models.config.checks import check_choice
from t5lite.models.config.initializers import Initializer, NormalInitializer
from t5lite.models.config.layers import StackSpec
from t5lite.models.config.mlps import GatedMLP, MLPKind
from t5lite.models.config.norms import NormKind, RMSNorm
from t5lite.models.config.positions import PositionKind, RotaryPositions
from t5lite.models.config.transformer import Architecture, TransformerConfig

PrefixAttention = Literal["causal", "bidirectional"]


@dataclass(frozen=True, kw_only=True)
class DecoderOnlyConfig(TransformerConfig):
    """A decoder-only Transformer, a causal language model; the defaults are Llama's choices."""

    num_layers: int
    """Layers."""
    prefix_attention: PrefixAttention = "causal"
    """Whether the inputs of a row (a prompt, ``decoder_bidirectional``) see only what precedes them, or all
    inputs (prefix LM; Raffel et al. 2019). Targets see what precedes them in any case."""
    positions: PositionKind = RotaryPositions()
    norm: NormKind = RMSNorm(epsilon=1e-5)
    mlp: MLPKind = GatedMLP(activation="silu")
    attention: AttentionConfig = AttentionConfig(scaled=True)
    logit_scale: float | None = 1.0
    initializer: Initializer = NormalInitializer()

    architecture: ClassVar[Architecture] = "decoder_only"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("prefix_attention", self.prefix_attention, get_args(PrefixAttention))

    @classmethod
    def module(cls) -> Callable[..., Any]:
        """Return ``DecoderOnly``."""
        from t5lite.models.decoder_only import DecoderOnly

        return DecoderOnly

    @property
    def stacks(self) -> tuple[StackSpec, ...]:
        """The one stack."""
        return (self.stack("decoder", self.num_layers),)

    @property
    def sees_later_inputs(self) -> bool:
        """Whether inputs see all inputs."""
        return self.prefix_attention == "bidirectional"

    def behind(self, num_virtual_tokens: int) -> Self:
        """Return this model with as many positions fewer."""
        left = self.max_length - num_virtual_tokens
        if left < 1 and self.position_limit is not None:
            raise ConfigError(
                f"{num_virtual_tokens} virtual tokens leave no room for text in the {self.max_length} "
                "positions of the model; use fewer (adapter.num_tokens)"
            )
        return dataclasses.replace(self, max_length=max(left, 1))

    @property
    def marks(self) -> tuple[str, ...]:
        """Where the inputs of a row end, for a model that sees them in both directions."""
        return ("decoder_bidirectional",) if self.sees_later_inputs else ()
