"""The encoder-decoder Transformer's configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from t5lite.core.batch_fields import Side
from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.models.config.layers import StackSpec
from t5lite.models.config.sizes import StackSizes
from t5lite.models.config.transformer import Architecture, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(TransformerConfig):
    """An encoder-decoder Transformer: T5 1.0 is relu and tied, T5 1.1 is gated and untied."""

    num_encoder_layers: int
    """Layers of the encoder."""
    num_decoder_layers: int
    """Layers of the decoder."""
    encoder_sizes: StackSizes | None = None
    """Sizes of the encoder where they are not the decoder's (T5Gemma's unequal pairs)."""
    separate_tables: bool = False
    """An embedding table for each side; a tied output projection is the decoder's."""
    merged_attention: bool = False
    """One softmax in a decoder's layer, over its own keys and the encoder's, by the same kernels, instead of
    self- and cross-attention (T5Gemma 2)."""
    start_id: int = PAD_ID
    """The id in front of every text that the decoder writes: T5's padding, or BOS (2 in T5Gemma)."""

    architecture: ClassVar[Architecture] = "encoder_decoder"
    _layer_fields: ClassVar[tuple[str, ...]] = ("num_encoder_layers", "num_decoder_layers")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_sizes is not None:
            self.encoder_sizes.check("encoder_sizes.")
            self.positions.check(head_dim=self.encoder_sizes.head_dim, embed_dim=self.encoder_sizes.embed_dim)
            if self.encoder_sizes.embed_dim != self.embed_dim and not self.separate_tables:
                raise ConfigError(
                    f"encoder_sizes.embed_dim={self.encoder_sizes.embed_dim} is not embed_dim="
                    f"{self.embed_dim}, so the sides cannot share a table; set separate_tables=True"
                )
        if self.merged_attention:
            self._check_merged()
        if not 0 <= self.start_id < self.vocab_size:
            raise ConfigError(f"start_id={self.start_id} must be an id below vocab_size={self.vocab_size}")
        if self.separate_tables and self.table_dim is not None:
            raise ConfigError(f"table_dim={self.table_dim} is of one table; leave it out or separate_tables")

    @property
    def decoder_start_id(self) -> int:
        """Its ``start_id``."""
        return self.start_id

    @property
    def encoder_dim(self) -> int:
        """Width of the encoder's residual stream."""
        return self.embed_dim if self.encoder_sizes is None else self.encoder_sizes.embed_dim

    @classmethod
    def module(cls) -> Callable[..., Any]:
        """Return ``EncoderDecoder``."""
        from t5lite.models.encoder_decoder import EncoderDecoder

        return EncoderDecoder

    @property
    def stacks(self) -> tuple[StackSpec, ...]:
        """The encoder, and the decoder that attends to its output."""
        return (
            self.stack("encoder", self.num_encoder_layers, sizes=self.encoder_sizes),
            self.stack(
                "decoder",
                self.num_decoder_layers,
                memory="encoder",
                memory_dim=self.encoder_dim,
                merged=self.merged_attention,
            ),
        )

    def _check_merged(self) -> None:
        if self.encoder_dim != self.embed_dim:
            raise ConfigError(
                f"merged_attention=True reads the encoder by the decoder's own kernels, so encoder_sizes."
                f"embed_dim={self.encoder_dim} must be embed_dim={self.embed_dim}; make them equal, or leave "
                "merged_attention out"
            )
        if self.positions.stack_bias is not None or self.positions.layer_bias is not None:
            raise ConfigError(
                "merged_attention=True has no distance from a decoder's tokens to the encoder's, by which "
                "positions=RelativePositions would bias its logits; use rotary, learned or sinusoidal "
                "positions, or leave merged_attention out"
            )

    def input_parameters(self, side: Side) -> tuple[str, ...]:
        """Return the side's own table, or what both sides share."""
        if self.separate_tables and side == "encoder":
            return ("encoder_embedder/embedding",)
        return super().input_parameters(side)

    @property
    def head_parameters(self) -> int:
        """Those of an untied output projection, and of the encoder's table where it has one."""
        table = self.vocab_size * self.encoder_dim if self.separate_tables else 0
        return super().head_parameters + table
