"""The decoder-only Transformer, a causal language model: GPT, OPT, PaLM, LaMDA, Llama."""

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.core.types import Batch
from t5lite.models.batch_fields import optional_field
from t5lite.models.config import DecoderOnlyConfig, Execution
from t5lite.models.layers.caches import Past
from t5lite.models.layers.embedding import LogitsProjection, TokenEmbedding
from t5lite.models.layers.logits import LogitFactors
from t5lite.models.layers.making import Making
from t5lite.models.layers.prompted import Prompted
from t5lite.models.layers.stack import Stack


class DecoderOnly(Prompted):
    """A causal stack and a language model's head.

    Segment ids mask attention: 0 is padding, and a position sees only earlier positions of its own segment;
    with ``config.prefix_attention="bidirectional"`` also the later ones that are inputs
    (``decoder_bidirectional``, or a prompt). Virtual tokens stand before the first position, and are inputs.
    A ``dropout_key`` of None means deterministic.
    """

    def __init__(self, config: DecoderOnlyConfig, execution: Execution, *, rngs: nnx.Rngs):
        making = Making.of(config, execution, rngs)
        (stack,) = config.stacks
        self.token_embedder = TokenEmbedding(config, making)
        self.decoder = Stack(stack, making)
        if not config.tie_embeddings:
            self.logits = LogitsProjection(config, making)
        self.config = config

    def __call__(self, batch: Batch, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Return float32 ``logits_BLV`` for the decoder's fields of ``core.types.Batch``."""
        return self.outputs(batch, dropout_key=dropout_key)["tokens"].logits()

    def outputs(self, batch: Batch, *, dropout_key: jax.Array | None = None) -> dict[str, LogitFactors]:
        """Return the logits of ``__call__`` as ``tokens``, not multiplied out: what a loss is taken of."""
        x_BLD = self._hidden(
            jnp.asarray(batch["decoder_input_tokens"]),
            segment_ids_BL=optional_field(batch, "decoder_segment_ids"),
            inputs_BL=optional_field(batch, "decoder_bidirectional"),
            dropout_key=dropout_key,
        )
        return {"tokens": self._project(x_BLD)}

    def encode(self, tokens_BM: jax.Array, *, segment_ids_BM: jax.Array) -> jax.Array:
        """Return what the stack makes of texts, ``[B, M, D]`` in the compute dtype; all of them is inputs."""
        return self._hidden(tokens_BM, segment_ids_BL=segment_ids_BM, inputs_BL=segment_ids_BM)

    def prefill(
        self, tokens_BL: jax.Array, *, first_B: jax.Array, num_more: int, chunk_size: int | None = None
    ) -> tuple[jax.Array, Past]:
        """Return hidden states ``[B, L, D]`` of whole prompts, and a cache of them with room for more.

        Args:
          tokens_BL: prompts that all end at the last column, with padding in front.
          first_B: int32 column of each prompt's first token, and in the cache of its first virtual token.
          num_more: tokens to come that are fed back.
          chunk_size: positions that are read at once; None: all. Not where prompts are seen from both sides.
        """
        embedded_BLD = self.behind_prompt(self.token_embedder(tokens_BL), first_B)
        sees_inputs = self.config.prefix_attention == "bidirectional"
        if chunk_size is not None and chunk_size < embedded_BLD.shape[1]:
            assert not sees_inputs, "a prompt that is seen from both sides is read whole"
            x_BLD, past = self.decoder.prefill_in_chunks(
                embedded_BLD, first_B=first_B, chunk_size=chunk_size, num_more=num_more
            )
            return self.without_prompt(x_BLD), past
        segment_ids_BL = (jnp.arange(embedded_BLD.shape[1])[None, :] >= first_B[:, None]).astype(jnp.int32)
        x_BLD, past = self.decoder.prefill(
            embedded_BLD,
            num_more=num_more,
            segment_ids_BL=segment_ids_BL,
            bidirectional_BL=segment_ids_BL if sees_inputs else None,
        )
        return self.without_prompt(x_BLD), past

    def decode_step(
        self,
        tokens_BL: jax.Array,
        past: Past,
        *,
        position: jax.Array,
        first_B: jax.Array,
        writers_BLP: jax.Array | None = None,
    ) -> tuple[jax.Array, Past]:
        """Return hidden states ``[B, L, D]`` of the tokens at ``position``, and the cache with them in it.

        Args:
          tokens_BL: tokens at ``position``, one of each text that continues a prompt.
          past: from ``prefill``, filled before ``position``; with as many keys at a place as there are texts.
          position: int32 scalar, the same column for all rows.
          first_B: int32 column of each row's first token, or virtual token.
          writers_BLP: int32, which text of its prompt wrote what a text has at a position; None for one text.
        """
        return self.decoder.decode_step(
            self.token_embedder(tokens_BL), past, position=position, first_B=first_B, writers_BLP=writers_BLP
        )

    def next_logits(self, hidden_BLD: jax.Array) -> jax.Array:
        """Return float32 ``logits_BLV`` of the tokens that follow those of the hidden states."""
        return self._project(hidden_BLD).logits()

    def _hidden(
        self,
        tokens_BL: jax.Array,
        *,
        segment_ids_BL: jax.Array | None,
        inputs_BL: jax.Array | None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return the stack's output behind a prompt; ``inputs_BL`` is 1 where a prefix is seen whole."""
        sees_inputs = self.config.prefix_attention == "bidirectional"
        x_BLD = self.decoder(
            self.behind_prompt(self.token_embedder(tokens_BL)),
            segment_ids_BL=self.marked(segment_ids_BL),
            bidirectional_BL=self.marked(inputs_BL if sees_inputs else None),
            dropout_key=dropout_key,
        )
        return self.without_prompt(x_BLD)

    def _project(self, x_BLD: jax.Array) -> LogitFactors:
        if self.config.tie_embeddings:
            return self.token_embedder.attend(x_BLD)
        return self.logits(self.token_embedder.project_out(x_BLD))
