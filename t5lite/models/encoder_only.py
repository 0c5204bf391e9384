"""The encoder-only Transformer: BERT, its pretraining heads and the heads it is fine-tuned with."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.core.types import Batch
from t5lite.models.batch_fields import optional_field
from t5lite.models.config import EncoderOnlyConfig, Execution
from t5lite.models.layers.contrast import similarities, text_vectors
from t5lite.models.layers.dropout import dropout, split_or_none
from t5lite.models.layers.embedding import TokenEmbedding
from t5lite.models.layers.heads import HeadTransform, LabelHead, MaskedLMHead, Pooler
from t5lite.models.layers.logits import LogitFactors
from t5lite.models.layers.making import Making
from t5lite.models.layers.stack import Stack

_PADDING_LOGIT = -1e9
"""Logit of a span that starts or ends in padding."""


class EncoderOnly(nnx.Module):
    """A bidirectional stack and the head of ``config.head`` (Devlin et al. 2019).

    What ``__call__`` returns, all float32 but the hidden states:

    =======================  =================================================================
    hidden                   ``hidden`` [B, M, D]
    pooled                   ``hidden``, ``pooled`` [B, D]: tanh(W first position)
    masked_lm                ``tokens`` [B, M, V]: dense, activation, norm, tied projection, bias
    pretraining              ``tokens``, and ``sequence`` [B, 2]: next sentence (0 is next) from the pooler
    sequence_classification  ``sequence`` [B, num_labels] from the pooler
    sequence_regression      ``sequence`` [B, 1], a number, from the pooler
    token_classification     ``labels`` [B, M, num_labels]
    sentence_embedding       ``texts`` [B, 3, D], vectors of a row's segments 1 to 3, and with
                             ``text_numbers`` ``similarities`` (``layers.contrast``)
    span_extraction          ``span`` [B, 2, M]: over positions, the first of a span and the last
    =======================  =================================================================
    """

    def __init__(self, config: EncoderOnlyConfig, execution: Execution, *, rngs: nnx.Rngs):
        making, width = Making.of(config, execution, rngs), config.embed_dim
        self.token_embedder = TokenEmbedding(config, making)
        if config.num_token_types:
            shape = (config.num_token_types, width)
            self.token_types = making.kernel("embedding", shape, ("token_types", "embed"))
        (stack,) = config.stacks
        self.encoder = Stack(stack, making)
        if config.has_pooler:
            self.pooler = Pooler(width, making)
        if config.predicts_tokens:
            self.masked_lm = MaskedLMHead(config, making)
        if config.transforms_labels:
            self.label_transform = HeadTransform(config, making)
        if config.head_kind.labels is not None:
            setattr(self, config.head_kind.labels, LabelHead(width, config.labels_of_head, making))
        self.config = config

    def __call__(self, batch: Batch, *, dropout_key: jax.Array | None = None) -> dict[str, jax.Array]:
        """Return the head's outputs by name for the encoder's fields of ``core.types.Batch``."""
        outputs = self.outputs(batch, dropout_key=dropout_key)
        return {
            name: output.logits() if isinstance(output, LogitFactors) else output
            for name, output in outputs.items()
        }

    def outputs(
        self, batch: Batch, *, dropout_key: jax.Array | None = None
    ) -> dict[str, LogitFactors | jax.Array]:
        """Return what ``__call__`` does, but ``tokens`` not multiplied out."""
        encoder_key, head_key = split_or_none(dropout_key, 2)
        if self.config.embeds:
            return self._contrasted(batch, encoder_key)
        segment_ids_BM = optional_field(batch, "encoder_segment_ids")
        hidden_BMD = self.encode(
            jnp.asarray(batch["encoder_input_tokens"]),
            segment_ids_BM=segment_ids_BM,
            token_types_BM=optional_field(batch, "encoder_token_types"),
            dropout_key=encoder_key,
        )
        outputs: dict[str, LogitFactors | jax.Array] = {}
        kind = self.config.head_kind
        pooled_BD = self.pooler(hidden_BMD) if self.config.has_pooler else None
        if not kind.outputs:
            outputs["hidden"] = hidden_BMD
        if not kind.outputs and pooled_BD is not None:
            outputs["pooled"] = pooled_BD
        if self.config.predicts_tokens:
            outputs["tokens"] = self.masked_lm.logits(hidden_BMD, self.token_embedder)
        if kind.labels is None:
            return outputs
        read_BLD = hidden_BMD if pooled_BD is None else pooled_BD[:, None]
        if self.config.transforms_labels:
            read_BLD = self.label_transform(read_BLD)
        rate = self.config.dropout_rate if kind.drops_out else 0.0
        logits_BLE = getattr(self, kind.labels)(dropout(read_BLD, rate, head_key))
        if kind.chooses_positions:
            if segment_ids_BM is not None:
                logits_BLE = jnp.where(segment_ids_BM[:, :, None] == 0, _PADDING_LOGIT, logits_BLE)
            return outputs | {kind.outputs[-1].name: jnp.swapaxes(logits_BLE, 1, 2)}
        return outputs | {kind.outputs[-1].name: logits_BLE if kind.labels_tokens else logits_BLE[:, 0]}

    def _contrasted(self, batch: Batch, dropout_key: jax.Array | None) -> dict[str, LogitFactors | jax.Array]:
        """Return the vectors of the texts, and how alike they are if their numbers are there.

        Texts are encoded apart: of a row, dropout has one mask, by which a text would know the one that
        belongs to it.
        """
        embedding, numbers_B2 = self.config.embedding, optional_field(batch, "text_numbers")
        negatives_B = optional_field(batch, "negative_numbers")
        tokens_BM, segment_ids_BM = (
            jnp.asarray(batch[name]) for name in ("encoder_input_tokens", "encoder_segment_ids")
        )
        num_texts = 1 + (numbers_B2 is not None) + (negatives_B is not None)
        apart = (num_texts * len(tokens_BM), -1)
        hidden = self.encode(
            tokens_BM.reshape(apart), segment_ids_BM=segment_ids_BM.reshape(apart), dropout_key=dropout_key
        )
        hidden_BMD = hidden.reshape(*tokens_BM.shape, -1)
        vectors_BTD = text_vectors(hidden_BMD, segment_ids_BM, embedding.pooling)
        if numbers_B2 is None:
            return {"texts": vectors_BTD}
        alike = similarities(
            vectors_BTD,
            numbers_B2,
            negatives_B,
            temperature=embedding.temperature,
            symmetric=embedding.symmetric,
        )
        return {"texts": vectors_BTD, "similarities": alike}

    def encode(
        self,
        tokens_BM: jax.Array,
        *,
        segment_ids_BM: jax.Array | None = None,
        token_types_BM: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return the stack's output ``[B, M, D]`` in the compute dtype; token types default to 0."""
        x_BMD = self.token_embedder(tokens_BM)
        if self.config.num_token_types:
            types_BM = jnp.zeros_like(tokens_BM) if token_types_BM is None else token_types_BM
            # Rounded after the lookup: the gradient of a row is a sum over thousands of tokens, in float32.
            types_BMD = jnp.take(self.token_types[...], types_BM, axis=0, mode="fill", fill_value=jnp.nan)
            x_BMD = x_BMD + types_BMD.astype(x_BMD.dtype)
        return self.encoder(x_BMD, segment_ids_BL=segment_ids_BM, dropout_key=dropout_key)
