"""A stack of layers: one layer's code, its parameters stacked, run by ``lax.scan``.

Compile time does not grow with depth. ``scan_unroll=-1`` is the same code unrolled.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import TransformerConfig
from t5lite.models.kernels.choice import AttentionShape, choose_backend
from t5lite.models.layers.attention import KeyValues
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.dropout import dropout, layer_keys, split_or_none
from t5lite.models.layers.layer import Layer, Surroundings, write_position
from t5lite.models.layers.norm import Norm
from t5lite.models.layers.position import (
    LearnedPositions,
    RelativeBias,
    RelativePositionBias,
    Rotation,
    positions_in_segments,
    rotation,
    sinusoids,
)
from t5lite.models.layers.remat import remat_policy
from t5lite.partitioning.constraints import gather_once
from t5lite.partitioning.rules import RESIDUAL_AXES, on_one_device


def scan_layers(
    body: Callable[[Layer, Any, Any], tuple[Any, Any]],
    layers: Layer,
    carry: Any,
    xs: Any = None,
    *,
    config: TransformerConfig,
) -> tuple[Any, Any]:
    """Thread ``carry`` through ``carry, y = body(layer, carry, x)`` for every layer.

    Args:
      body: one layer's step; what it closes over is the same for all layers.
      layers: one layer whose parameters are stacked along axis 0.
      carry: what goes through the stack.
      xs: per-layer inputs, stacked along axis 0, or None.
      config: for ``remat`` and ``scan_unroll``.

    Returns:
      The last carry, and the ``y``s stacked along axis 0.
    """
    graphdef, state = nnx.split(layers)

    def step(carry: Any, layer_inputs: Any) -> tuple[Any, Any]:
        layer_state, x = layer_inputs
        if not on_one_device():
            layer_state = jax.lax.optimization_barrier(layer_state)
        return body(nnx.merge(graphdef, layer_state), carry, x)

    policy = remat_policy(config)
    if policy is not None:
        # Inside a loop nothing can be shared between forward and backward pass; unrolled layers need the
        # barrier, or XLA finds the recomputation to be the same as the forward pass and keeps that.
        step = jax.checkpoint(step, policy=policy, prevent_cse=config.scan_unroll != 1)
    unroll = True if config.scan_unroll == -1 else config.scan_unroll
    return jax.lax.scan(step, carry, (state, xs), unroll=unroll)


class Stack(nnx.Module):
    """Layers on embedded tokens, with their positions and, in pre-norm, a norm at the end.

    Args:
      config: of the model.
      num_layers: of this stack.
      bidirectional: whether a position sees later ones (an encoder); it decides the buckets of the bias.
      cross_attention: whether the layers attend to an encoder's output too.
      rngs: for the initial values.
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        num_layers: int,
        bidirectional: bool,
        cross_attention: bool = False,
        rngs: nnx.Rngs,
    ):
        if config.positions == "relative":
            self.relpos_bias = RelativePositionBias(config, bidirectional=bidirectional, rngs=rngs)
        if config.positions == "learned":
            self.positions = LearnedPositions(config, rngs=rngs)
        if config.embedding_norm:
            self.embedding_norm = Norm(config)

        @nnx.split_rngs(splits=num_layers)
        @nnx.vmap(in_axes=(0,), out_axes=0, transform_metadata={nnx.PARTITION_NAME: "layers"})
        def make_layers(rngs: nnx.Rngs) -> Layer:
            return Layer(config, bidirectional=bidirectional, cross_attention=cross_attention, rngs=rngs)

        self.layers = make_layers(rngs)
        if config.norm_placement == "pre":
            self.final_norm = Norm(config)
        self.num_layers = num_layers
        self.causal = not bidirectional
        self.config = config

    def __call__(
        self,
        x_BLD: jax.Array,
        *,
        segment_ids_BL: jax.Array | None = None,
        bidirectional_BL: jax.Array | None = None,
        encoded_BMD: jax.Array | None = None,
        encoder_segment_ids_BM: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Return ``[B, L, D]``.

        Args:
          x_BLD: embedded tokens.
          segment_ids_BL: 0 is padding, and a position sees only positions of its own segment.
          bidirectional_BL: of a causal stack, 1 on positions that earlier ones of their segment see too.
          encoded_BMD: the encoder's output, where the layers cross-attend.
          encoder_segment_ids_BM: 0 hides the encoder's padding; with ``segment_ids_BL``, other segments too.
          dropout_key: None is deterministic.
        """
        x_BLD, around = self._enter(x_BLD, segment_ids_BL, bidirectional_BL)
        around = around._replace(
            encoded_BMD=encoded_BMD,
            gathered_BMD=None if encoded_BMD is None else gather_once(encoded_BMD, RESIDUAL_AXES, "heads"),
            cross_mask=AttentionMask(
                query_segment_ids_BL=segment_ids_BL, key_segment_ids_BM=encoder_segment_ids_BM
            ),
        )
        keys = split_or_none(dropout_key, 3)
        x_BLD = dropout(x_BLD, self.config.dropout_rate, keys[0])

        def body(layer: Layer, x_BLD: jax.Array, key: jax.Array | None) -> tuple[jax.Array, None]:
            return layer(x_BLD, around, dropout_key=key)[0], None

        x_BLD, _ = scan_layers(
            body, self.layers, x_BLD, layer_keys(keys[1], self.num_layers), config=self.config
        )
        return self._finish(x_BLD, dropout_key=keys[2])

    def prefill(
        self,
        x_BLD: jax.Array,
        *,
        segment_ids_BL: jax.Array | None = None,
        bidirectional_BL: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValues]:
        """Return ``[B, L, D]`` without dropout, and all layers' keys and values ``[N, B, L, G, K]``."""
        x_BLD, around = self._enter(x_BLD, segment_ids_BL, bidirectional_BL)

        def body(layer: Layer, x_BLD: jax.Array, _: None) -> tuple[jax.Array, KeyValues]:
            return layer(x_BLD, around)

        x_BLD, own = scan_layers(body, self.layers, x_BLD, config=self.config)
        return self._finish(x_BLD), own

    def cross_key_values(self, encoded_BMD: jax.Array) -> KeyValues:
        """Return every layer's cross-attention memory, ``[N, B, M, G, K]``: computed once a sequence."""

        def body(layer: Layer, carry: None, _: None) -> tuple[None, KeyValues]:
            return carry, layer.cross_attention.key_values(encoded_BMD)

        return scan_layers(body, self.layers, None, config=self.config)[1]

    def decode_step(
        self,
        x_B1D: jax.Array,
        past: KeyValues,
        *,
        position: jax.Array,
        first_B: jax.Array | None = None,
        cross: KeyValues | None = None,
        encoder_segment_ids_BM: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValues]:
        """Return the output for one position and ``past`` with that position written.

        Args:
          x_B1D: the embedded token at ``position``.
          past: ``[N, B, max_length, G, K]``.
          position: int32 scalar, the place in ``past``, the same for all rows.
          first_B: place of each row's first token, after its padding; None is 0 for all.
          cross: the result of ``cross_key_values``.
          encoder_segment_ids_BM: 0 hides the encoder's padding.
        """
        places_M = jnp.arange(past.keys.shape[2])
        positions_B1, key_ids_BM = position[None, None], None
        if first_B is not None:
            positions_B1 = position - first_B[:, None]
            key_ids_BM = (places_M[None, :] >= first_B[:, None]).astype(jnp.int32)
        around = Surroundings(
            mask=AttentionMask(causal=True, key_segment_ids_BM=key_ids_BM, query_offset=position),
            rotation=self._rotation(positions_B1),
            cross_mask=AttentionMask(key_segment_ids_BM=encoder_segment_ids_BM),
        )
        around = around._replace(bias=self._bias(around.mask, x_B1D.shape[0], (1, places_M.size)))

        def body(
            layer: Layer, x_B1D: jax.Array, caches: tuple[KeyValues, KeyValues | None]
        ) -> tuple[jax.Array, KeyValues]:
            return layer.decode_step(x_B1D, around, *caches)

        x_B1D = self._embed_positions(x_B1D, positions_B1)
        x_B1D, new = scan_layers(body, self.layers, x_B1D, (past, cross), config=self.config)
        # Only the new position is written to the stacked cache, so XLA can do it in place.
        return self._finish(x_B1D), write_position(past, new, position, axis=2)

    def _finish(self, x_BLD: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        if self.config.norm_placement == "post":
            return x_BLD  # the last layer ended in a norm
        return dropout(self.final_norm(x_BLD), self.config.dropout_rate, dropout_key)

    def _enter(
        self, x_BLD: jax.Array, segment_ids_BL: jax.Array | None, bidirectional_BL: jax.Array | None
    ) -> tuple[jax.Array, Surroundings]:
        """Return whole sequences with their positions added, and what their layers attend by."""
        length = x_BLD.shape[1]
        self.config.check_length(length)
        positions_BL = positions_in_segments(segment_ids_BL, length)
        around = Surroundings(
            mask=AttentionMask(
                causal=self.causal,
                query_segment_ids_BL=segment_ids_BL,
                key_segment_ids_BM=segment_ids_BL,
                bidirectional_keys_BM=bidirectional_BL,
            ),
            rotation=self._rotation(positions_BL),
        )
        x_BLD = self._embed_positions(x_BLD, positions_BL)
        return x_BLD, around._replace(bias=self._bias(around.mask, x_BLD.shape[0], (length, length)))

    def _bias(self, mask: AttentionMask, batch: int, lengths: tuple[int, int]) -> RelativeBias | None:
        if self.config.positions != "relative":
            return None
        bias = self.relpos_bias(mask.query_offset)
        shape = AttentionShape.of_stack(self.config, mask, batch, lengths)
        if choose_backend(self.config.attention, shape) == "flash":
            return bias
        # The array is computed here, once, and not in each layer of the loop.
        return bias.computed(*lengths)

    def _rotation(self, positions_BL: jax.Array) -> Rotation | None:
        if self.config.positions != "rotary":
            return None
        return rotation(positions_BL, self.config.head_dim, base=self.config.rotary_base)

    def _embed_positions(self, x_BLD: jax.Array, positions_BL: jax.Array) -> jax.Array:
        if self.config.positions == "learned":
            x_BLD = x_BLD + self.positions(positions_BL)
        elif self.config.positions == "sinusoidal":
            x_BLD = x_BLD + sinusoids(positions_BL, x_BLD.shape[-1]).astype(x_BLD.dtype)
        return self.embedding_norm(x_BLD) if self.config.embedding_norm else x_BLD
