"""The logits over the vocabulary, which a step makes whole or in chunks (``training.logit_statistics``)."""

import math
from dataclasses import dataclass

from t5lite.models.config import ModelConfig
from t5lite.models.flops import stack_lengths
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.predicted.layer_shapes import ActivationShards
from t5lite.training.logit_statistics import cut_share


@dataclass(frozen=True, kw_only=True)
class LogitsShape:
    """Logits of one microbatch on one device."""

    tokens: float
    ids: int
    """Of the device's share of the vocabulary."""
    chunk: int
    """Ids whose logits are made at once."""
    num_chunks: int
    width: int
    """Of what a token's logits are made of."""

    @property
    def in_chunks(self) -> bool:
        """Whether logits are forgotten in the forward pass, and made again in the backward pass."""
        return self.num_chunks > 1

    @property
    def remade_flops(self) -> float:
        """FLOPs of what is made again."""
        return 2.0 * self.tokens * self.ids * self.width * self.in_chunks


def logits_shape(
    config: ModelConfig,
    shards: ActivationShards,
    batch: BatchShape,
    *,
    rows: float,
    vocab_chunks: int | None,
    platform: str,
) -> LogitsShape | None:
    """Return the logits' shape, or None of a model that predicts no tokens.

    Args:
      config: of the model.
      shards: of its activations.
      batch: whose lengths count.
      rows: of a microbatch on one device.
      vocab_chunks: of the step's configuration.
      platform: of the devices.
    """
    if not config.predicts_tokens:
        return None
    last = stack_lengths(config, batch.encoder_length, batch.decoder_length)[-1]
    tokens = rows * math.ceil(last.length / shards.length)
    ids = math.ceil(config.vocab_size / shards.vocab)
    chunk, num_chunks = cut_share(ids, vocab_chunks, num_tokens=tokens, platform=platform)
    width = last.stack.cycle[0].embed_dim
    return LogitsShape(tokens=tokens, ids=ids, chunk=chunk, num_chunks=num_chunks, width=width)
