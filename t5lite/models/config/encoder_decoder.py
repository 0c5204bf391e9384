"""The encoder-decoder Transformer's configuration."""

from dataclasses import dataclass
from typing import ClassVar

from t5lite.models.config.parts import StackShape
from t5lite.models.config.transformer import Architecture, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(TransformerConfig):
    """An encoder-decoder Transformer: T5 1.0 is relu and tied, T5 1.1 is gated_gelu and untied."""

    num_encoder_layers: int
    """Layers of the encoder."""
    num_decoder_layers: int
    """Layers of the decoder."""

    architecture: ClassVar[Architecture] = "encoder_decoder"
    _layer_fields: ClassVar[tuple[str, ...]] = ("num_encoder_layers", "num_decoder_layers")

    @property
    def stacks(self) -> tuple[StackShape, ...]:
        """The encoder, and the decoder that attends to its output."""
        return (
            StackShape("encoder", self.num_encoder_layers),
            StackShape("decoder", self.num_decoder_layers, memory="encoder"),
        )
