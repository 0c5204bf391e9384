"""Encoder and decoder stacks: one layer's code, its parameters stacked, run by ``lax.scan``.

Compile time does not grow with depth. ``scan_unroll=-1`` is the same code unrolled.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.layers.attention import Attention, KeyValues
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.dropout import dropout, layer_keys, split_or_none
from t5lite.models.layers.mlp import MLP
from t5lite.models.layers.norm import RMSNorm
from t5lite.models.layers.position import RelativePositionBias
from t5lite.partitioning.rules import constrain

ACTIVATION_AXES = ("batch", "length", "embed")

REMAT_POLICIES: dict[str, Callable[..., bool] | None] = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""What the forward pass keeps for the backward pass; see ``EncoderDecoderConfig.remat``."""

Layer = TypeVar("Layer", bound=nnx.Module)


def stack_layers(
    layer_type: Callable[..., Layer], config: EncoderDecoderConfig, num_layers: int, rngs: nnx.Rngs
) -> Layer:
    """Return a module whose parameters are those of ``num_layers`` layers along a new axis 0, 'layers'."""

    @nnx.split_rngs(splits=num_layers)
    @nnx.vmap(in_axes=(0,), out_axes=0, transform_metadata={nnx.PARTITION_NAME: "layers"})
    def create(rngs: nnx.Rngs) -> Layer:
        return layer_type(config, rngs=rngs)

    return create(rngs)


def scan_layers(
    body: Callable[[Any, Any, Any], tuple[Any, Any]],
    layers: nnx.Module,
    carry: Any,
    xs: Any = None,
    *,
    config: EncoderDecoderConfig,
) -> tuple[Any, Any]:
    """Thread ``carry`` through ``carry, y = body(layer, carry, x)`` for every layer.

    Args:
      body: one layer's step; what it closes over is the same for all layers.
      layers: the result of ``stack_layers``.
      carry: what goes through the stack.
      xs: per-layer inputs, stacked along axis 0, or None.
      config: for ``remat`` and ``scan_unroll``.

    Returns:
      The last carry, and the ``y``s stacked along axis 0.
    """
    graphdef, state = nnx.split(layers)

    def step(carry: Any, layer_inputs: Any) -> tuple[Any, Any]:
        layer_state, x = layer_inputs
        return body(nnx.merge(graphdef, layer_state), carry, x)

    policy = REMAT_POLICIES[config.remat]
    if policy is not None:
        # Inside a loop nothing can be shared between forward and backward pass; unrolled layers need the
        # barrier, or XLA finds the recomputation to be the same as the forward pass and keeps that.
        step = jax.checkpoint(step, policy=policy, prevent_cse=config.scan_unroll != 1)
    unroll = True if config.scan_unroll == -1 else config.scan_unroll
    return jax.lax.scan(step, carry, (state, xs), unroll=unroll)


class EncoderLayer(nnx.Module):
    """Self-attention and MLP, each x + f(norm(x))."""

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        self.pre_attention_norm = RMSNorm(config, rngs=rngs)
        self.self_attention = Attention(config, rngs=rngs)
        self.pre_mlp_norm = RMSNorm(config, rngs=rngs)
        self.mlp = MLP(config, rngs=rngs)
        self.dropout_rate = config.dropout_rate

    def __call__(
        self, x_BLD: jax.Array, *, mask: AttentionMask, bias_HLM: jax.Array, dropout_key: jax.Array | None
    ) -> jax.Array:
        """Return ``[B, M, D]``."""
        keys = split_or_none(dropout_key, 4)
        y_BLD = self.pre_attention_norm(x_BLD)
        y_BLD = self.self_attention(y_BLD, y_BLD, mask=mask, bias_HLM=bias_HLM, dropout_key=keys[0])
        x_BLD = x_BLD + dropout(y_BLD, self.dropout_rate, keys[1])
        y_BLD = self.mlp(self.pre_mlp_norm(x_BLD), dropout_key=keys[2])
        x_BLD = x_BLD + dropout(y_BLD, self.dropout_rate, keys[3])
        return constrain(x_BLD, ACTIVATION_AXES)


class DecoderLayer(nnx.Module):
    """Causal self-attention, cross-attention to the encoder's output, and MLP, each x + f(norm(x))."""

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        self.pre_self_attention_norm = RMSNorm(config, rngs=rngs)
        self.self_attention = Attention(config, rngs=rngs)
        self.pre_cross_attention_norm = RMSNorm(config, rngs=rngs)
        self.cross_attention = Attention(config, rngs=rngs)
        self.pre_mlp_norm = RMSNorm(config, rngs=rngs)
        self.mlp = MLP(config, rngs=rngs)
        self.dropout_rate = config.dropout_rate

    def __call__(
        self,
        x_BLD: jax.Array,
        encoded_BMD: jax.Array,
        *,
        self_mask: AttentionMask,
        cross_mask: AttentionMask,
        bias_HLL: jax.Array,
        dropout_key: jax.Array | None,
    ) -> jax.Array:
        """Return ``[B, L, D]`` for teacher-forced inputs."""
        keys = split_or_none(dropout_key, 6)
        y_BLD = self.pre_self_attention_norm(x_BLD)
        y_BLD = self.self_attention(y_BLD, y_BLD, mask=self_mask, bias_HLM=bias_HLL, dropout_key=keys[0])
        x_BLD = x_BLD + dropout(y_BLD, self.dropout_rate, keys[1])
        y_BLD = self.pre_cross_attention_norm(x_BLD)
        y_BLD = self.cross_attention(y_BLD, encoded_BMD, mask=cross_mask, dropout_key=keys[2])
        x_BLD = x_BLD + dropout(y_BLD, self.dropout_rate, keys[3])
        y_BLD = self.mlp(self.pre_mlp_norm(x_BLD), dropout_key=keys[4])
        x_BLD = x_BLD + dropout(y_BLD, self.dropout_rate, keys[5])
        return constrain(x_BLD, ACTIVATION_AXES)

    def decode_step(
        self,
        x_B1D: jax.Array,
        past: KeyValues,
        cross: KeyValues,
        *,
        self_mask: AttentionMask,
        cross_mask: AttentionMask,
        bias_H1L: jax.Array,
    ) -> tuple[jax.Array, KeyValues]:
        """Return the layer's output for one position, and that position's own keys and values.

        ``past`` holds ``[B, max_length, H, K]``; what stands at and after the position is not read.
        """
        y_B1D = self.pre_self_attention_norm(x_B1D)
        new = self.self_attention.key_values(y_B1D)
        seen = write_position(past, new, self_mask.query_offset, axis=1)
        x_B1D = x_B1D + self.self_attention.attend(y_B1D, seen, mask=self_mask, bias_HLM=bias_H1L)
        y_B1D = self.pre_cross_attention_norm(x_B1D)
        x_B1D = x_B1D + self.cross_attention.attend(y_B1D, cross, mask=cross_mask)
        return x_B1D + self.mlp(self.pre_mlp_norm(x_B1D)), new


def write_position(past: KeyValues, new: KeyValues, position: jax.Array | int, *, axis: int) -> KeyValues:
    """Return ``past`` with ``new`` (length 1 along ``axis``) written at ``position``."""
    update = jax.lax.dynamic_update_slice_in_dim
    return KeyValues(
        update(past.keys, new.keys.astype(past.keys.dtype), position, axis),
        update(past.values, new.values.astype(past.values.dtype), position, axis),
    )


class Encoder(nnx.Module):
    """The encoder stack on embedded tokens, with its relative bias and final norm."""

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        self.relpos_bias = RelativePositionBias(config, bidirectional=True, rngs=rngs)
        self.layers = stack_layers(EncoderLayer, config, config.num_encoder_layers, rngs)
        self.final_norm = RMSNorm(config, rngs=rngs)
        self.config = config

    def __call__(self, x_BMD: jax.Array, *, mask: AttentionMask, dropout_key: jax.Array | None) -> jax.Array:
        """Return ``[B, M, D]``; the bias is computed here once, not in every layer."""
        keys = split_or_none(dropout_key, 3)
        rate = self.config.dropout_rate
        positions_M = jnp.arange(x_BMD.shape[1])
        bias_HMM = self.relpos_bias(positions_M, positions_M)

        def body(layer: EncoderLayer, x_BMD: jax.Array, key: jax.Array | None) -> tuple[jax.Array, None]:
            return layer(x_BMD, mask=mask, bias_HLM=bias_HMM, dropout_key=key), None

        x_BMD = dropout(x_BMD, rate, keys[0])
        x_BMD, _ = scan_layers(
            body, self.layers, x_BMD, layer_keys(keys[1], self.config.num_encoder_layers), config=self.config
        )
        return dropout(self.final_norm(x_BMD), rate, keys[2])


class Decoder(nnx.Module):
    """The decoder stack on embedded tokens, with its relative bias and final norm; not the logits."""

    def __init__(self, config: EncoderDecoderConfig, *, rngs: nnx.Rngs):
        self.relpos_bias = RelativePositionBias(config, bidirectional=False, rngs=rngs)
        self.layers = stack_layers(DecoderLayer, config, config.num_decoder_layers, rngs)
        self.final_norm = RMSNorm(config, rngs=rngs)
        self.config = config

    def __call__(
        self,
        x_BLD: jax.Array,
        encoded_BMD: jax.Array,
        *,
        self_mask: AttentionMask,
        cross_mask: AttentionMask,
        dropout_key: jax.Array | None,
    ) -> jax.Array:
        """Return ``[B, L, D]`` for teacher-forced inputs."""
        keys = split_or_none(dropout_key, 3)
        rate = self.config.dropout_rate
        positions_L = jnp.arange(x_BLD.shape[1])
        bias_HLL = self.relpos_bias(positions_L, positions_L)

        def body(layer: DecoderLayer, x_BLD: jax.Array, key: jax.Array | None) -> tuple[jax.Array, None]:
            x_BLD = layer(
                x_BLD,
                encoded_BMD,
                self_mask=self_mask,
                cross_mask=cross_mask,
                bias_HLL=bias_HLL,
                dropout_key=key,
            )
            return x_BLD, None

        x_BLD = dropout(x_BLD, rate, keys[0])
        x_BLD, _ = scan_layers(
            body, self.layers, x_BLD, layer_keys(keys[1], self.config.num_decoder_layers), config=self.config
        )
        return dropout(self.final_norm(x_BLD), rate, keys[2])

    def cross_key_values(self, encoded_BMD: jax.Array) -> KeyValues:
        """Return every layer's cross-attention memory, ``[N, B, M, H, K]``: computed once a sequence."""

        def body(layer: DecoderLayer, carry: None, _: None) -> tuple[None, KeyValues]:
            return carry, layer.cross_attention.key_values(encoded_BMD)

        return scan_layers(body, self.layers, None, config=self.config)[1]

    def decode_step(
        self,
        x_B1D: jax.Array,
        past: KeyValues,
        cross: KeyValues,
        *,
        position: jax.Array,
        cross_mask: AttentionMask,
    ) -> tuple[jax.Array, KeyValues]:
        """Return the normed output for one position and ``past`` with that position written.

        Args:
          x_B1D: the embedded token at ``position``.
          past: ``[N, B, max_length, H, K]``.
          cross: the result of ``cross_key_values``.
          position: int32 scalar, the same for all rows.
          cross_mask: which encoder positions are visible.
        """
        self_mask = AttentionMask(causal=True, query_offset=position)
        bias_H1L = self.relpos_bias(position[None], jnp.arange(past.keys.shape[2]))

        def body(
            layer: DecoderLayer, x_B1D: jax.Array, caches: tuple[KeyValues, KeyValues]
        ) -> tuple[jax.Array, KeyValues]:
            return layer.decode_step(
                x_B1D, *caches, self_mask=self_mask, cross_mask=cross_mask, bias_H1L=bias_H1L
            )

        x_B1D, new = scan_layers(body, self.layers, x_B1D, (past, cross), config=self.config)
        # Only the new position is written to the stacked cache, so XLA can do it in place.
        return self.final_norm(x_B1D), write_position(past, new, position, axis=2)
