"""The encoder-decoder Transformer: T5 and its relatives, and the Transformer of 2017."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.core.types import Batch
from t5lite.models.batch_fields import optional_field
from t5lite.models.config import EncoderDecoderConfig, Execution
from t5lite.models.layers.caches import Past
from t5lite.models.layers.dropout import split_or_none
from t5lite.models.layers.embedding import LogitsProjection, TokenEmbedding
from t5lite.models.layers.logits import LogitFactors
from t5lite.models.layers.making import Making
from t5lite.models.layers.prompted import Prompted
from t5lite.models.layers.stack import Memory, Stack


class EncoderDecoder(Prompted):
    """An encoder, and a causal decoder that attends to its output; one embedding table for both, or two.

    Segment ids mask attention in both stacks and across them: 0 is padding, and a position sees only
    positions of its own segment. Without segment ids nothing is padding, id 0 included (T5X would infer
    padding from it). A prompt stands before the encoder's input. A ``dropout_key`` of None means
    deterministic.
    """

    def __init__(self, config: EncoderDecoderConfig, execution: Execution, *, rngs: nnx.Rngs):
        making = Making.of(config, execution, rngs)
        encoder, decoder = config.stacks
        self.token_embedder = TokenEmbedding(config, making)
        if config.separate_tables:
            self.encoder_embedder = TokenEmbedding(config, making, width=config.encoder_dim)
        self.encoder, self.decoder = Stack(encoder, making), Stack(decoder, making)
        if not config.tie_embeddings:
            self.logits = LogitsProjection(config, making)
        self.config = config

    def __call__(self, batch: Batch, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return float32 ``logits_BLV`` for the fields of ``core.types.Batch``."""
        return self.outputs(batch, dropout_key=dropout_key)["tokens"].logits()

    def outputs(self, batch: Batch, *, dropout_key: jax.Array | None = None) -> dict[str, LogitFactors]:
        """Return the logits of ``__call__`` as ``tokens``, not multiplied out: what a loss is taken of."""
        encoder_key, decoder_key = split_or_none(dropout_key, 2)
        encoder_segment_ids_BM = optional_field(batch, "encoder_segment_ids")
        encoded_BMD = self.encode(
            jnp.asarray(batch["encoder_input_tokens"]),
            segment_ids_BM=encoder_segment_ids_BM,
            dropout_key=encoder_key,
        )
        tokens = self._decode(
            jnp.asarray(batch["decoder_input_tokens"]),
            encoded_BMD,
            decoder_segment_ids_BL=optional_field(batch, "decoder_segment_ids"),
            encoder_segment_ids_BM=encoder_segment_ids_BM,
            dropout_key=decoder_key,
        )
        return {"tokens": tokens}

    def encode(
        self,
        tokens_BM: jax.Array,
        *,
        segment_ids_BM: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return the encoder's output ``[B, M, D]`` in the compute dtype."""
        embedder = self.encoder_embedder if self.config.separate_tables else self.token_embedder
        return self.encoder(
            self.behind_prompt(embedder(tokens_BM)),
            segment_ids_BL=self.marked(segment_ids_BM),
            dropout_key=dropout_key,
        )

    def decode(
        self,
        tokens_BL: jax.Array,
        encoded_BMD: jax.Array,
        *,
        decoder_segment_ids_BL: jax.Array | None = None,
        encoder_segment_ids_BM: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return float32 ``logits_BLV`` for teacher-forced decoder inputs.

        Encoder segment ids alone hide the encoder's padding from every decoder position.
        """
        return self._decode(
            tokens_BL,
            encoded_BMD,
            decoder_segment_ids_BL=decoder_segment_ids_BL,
            encoder_segment_ids_BM=encoder_segment_ids_BM,
            dropout_key=dropout_key,
        ).logits()

    def start(self, batch_size: int, length: int) -> Past:
        """Return an empty cache of the decoder for ``length`` positions."""
        return self.decoder.start(batch_size, length)

    def cross_key_values(self, encoded_BMD: jax.Array) -> Memory:
        """Return the decoder's projected cross-attention memory."""
        return self.decoder.cross_key_values(encoded_BMD)

    def decode_step(
        self,
        tokens_BL: jax.Array,
        past: Past,
        cross: Memory,
        *,
        position: jax.Array,
        writers_BLP: jax.Array | None = None,
        encoder_segment_ids_BM: jax.Array | None = None,
    ) -> tuple[jax.Array, Past]:
        """Return hidden states ``[B, L, D]`` of the tokens at ``position``, and the cache with them in it.

        Args:
          tokens_BL: decoder inputs at ``position`` (the start token, T5's pad id 0, at position 0), one of
            each text that is written for an input.
          past: from ``start``, filled before ``position``; with as many keys at a place as there are texts.
          cross: the result of ``cross_key_values``.
          position: int32 scalar, the same for all rows.
          writers_BLP: int32, which text of its input wrote what a text has at a position; None for one text.
          encoder_segment_ids_BM: 0 marks encoder padding, which is not attended to.
        """
        return self.decoder.decode_step(
            self.token_embedder(tokens_BL),
            past,
            position=position,
            writers_BLP=writers_BLP,
            cross=cross,
            encoder_segment_ids_BM=self.marked(encoder_segment_ids_BM),
        )

    def next_logits(self, hidden_BLD: jax.Array) -> jax.Array:
        """Return float32 ``logits_BLV`` of the tokens that follow those of the hidden states."""
        return self._project(hidden_BLD).logits()

    def _decode(
        self,
        tokens_BL: jax.Array,
        encoded_BMD: jax.Array,
        *,
        decoder_segment_ids_BL: jax.Array | None,
        encoder_segment_ids_BM: jax.Array | None,
        dropout_key: jax.Array | None,
    ) -> LogitFactors:
        x_BLD = self.decoder(
            self.token_embedder(tokens_BL),
            segment_ids_BL=decoder_segment_ids_BL,
            encoded_BMD=encoded_BMD,
            encoder_segment_ids_BM=self.marked(encoder_segment_ids_BM),
            dropout_key=dropout_key,
        )
        return self._project(x_BLD)

    def _project(self, x_BLD: jax.Array) -> LogitFactors:
        if self.config.tie_embeddings:
            return self.token_embedder.attend(x_BLD)
        return self.logits(self.token_embedder.project_out(x_BLD))
