"""One Transformer layer, the same for all architectures: self-attention, maybe cross-attention, MLP.

Self-attention may be merged with cross-attention: one softmax over a layer's own keys and the encoder's.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5lite.models.config import LayerSpec
from t5lite.models.layers.attention import Attention, KeyValues
from t5lite.models.layers.attention_ops import AttentionMask, MergedKeys
from t5lite.models.layers.caches import by_head, write
from t5lite.models.layers.dropout import dropout, split_or_none
from t5lite.models.layers.making import Making
from t5lite.models.layers.mlp import MLP
from t5lite.models.layers.norm import Norm
from t5lite.models.layers.position import RelativeBias, RelativePositionBias, Rotation
from t5lite.partitioning.constraints import as_gathered, gather_for
from t5lite.partitioning.rules import RESIDUAL_AXES, constrain

Branch: TypeAlias = Callable[[jax.Array], jax.Array]
Keys: TypeAlias = list[jax.Array | None]


class Surroundings(NamedTuple):
    """What a layer's attention sees besides its input, and what computes it."""

    mask: AttentionMask
    backend: str
    """What computes self-attention, chosen once for all layers that attend alike."""
    bias: RelativeBias | None = None
    """The bias that the layers of the stack share."""
    rotation: Rotation | None = None
    slot: jax.Array | int = 0
    """Of the first key that is written into a cache."""
    encoded_BMD: jax.Array | None = None
    """The encoder's output, for cross-attention, apart or merged."""
    gathered_BMD: jax.Array | None = None
    """The same as the operand of products with heads."""
    cross_mask: AttentionMask = AttentionMask()
    cross_backend: str = "reference"


class Layer(nnx.Module):
    """Residual branches in pre-norm, post-norm, normed-around or parallel order."""

    def __init__(self, spec: LayerSpec, making: Making, *, bidirectional: bool):
        def norm() -> Norm:
            return Norm(spec.norm, spec.embed_dim, making)

        if spec.attention_norm:
            self.self_attention_norm = norm()
        self.self_attention = Attention(spec.attention, making)
        if spec.relative_positions is not None:
            self.relpos_bias = RelativePositionBias(
                spec.relative_positions, spec.attention.num_heads, making, bidirectional=bidirectional
            )
        self.merges, self.crosses = spec.attention.merged, spec.cross_attention is not None
        if spec.cross_attention is not None:
            self.cross_attention_norm = norm()
            self.cross_attention = Attention(spec.cross_attention, making)
        self.mlp = MLP(spec.mlp, spec.embed_dim, spec.mlp_dim, making)
        self.parallel = spec.parallel
        if not self.parallel:
            self.mlp_norm = norm()
        self.placement = spec.norm_placement
        if self.placement == "around":
            self.self_attention_post_norm = norm()
            if self.crosses:
                self.cross_attention_post_norm = norm()
            self.mlp_post_norm = norm()
        self.dropout_rate = making.dropout_rate

    @property
    def memory_attention(self) -> Attention:
        """What projects the encoder's output."""
        return self.self_attention if self.merges else self.cross_attention

    def __call__(
        self, x_BLD: jax.Array, around: Surroundings, *, dropout_key: jax.Array | None = None
    ) -> tuple[jax.Array, KeyValues]:
        """Return ``[B, L, D]`` for a whole sequence, and its keys and values of self-attention."""
        x_BLD = checkpoint_name(x_BLD, "layer_input")
        *keys, cross_key = split_or_none(dropout_key, 6)
        own: list[KeyValues] = []

        def self_branch(y_BLD: jax.Array) -> jax.Array:
            own.append(self.self_attention.key_values(y_BLD, rotation=around.rotation))
            merged = MergedKeys(*self._project(around), around.cross_mask) if self.merges else None
            return self._attend_self(y_BLD, own[0], around, merged, dropout_key=keys[0])

        def cross_branch(y_BLD: jax.Array) -> jax.Array:
            memory = self._project(around)
            return self.cross_attention.attend(
                y_BLD, memory, backend=around.cross_backend, mask=around.cross_mask, dropout_key=cross_key
            )

        y_BLD = self._add_branches(x_BLD, self_branch, cross_branch, keys[1:])
        return constrain(y_BLD, RESIDUAL_AXES), own[0]

    def decode_step(
        self, x_BLD: jax.Array, around: Surroundings, past: KeyValues, cross: KeyValues | None
    ) -> tuple[jax.Array, KeyValues]:
        """Return the layer's output for one position of L texts, or L of one; and ``past`` with them written.

        ``past`` and ``cross`` hold ``[B, G, M, K]``, of ``past`` a key a place and text; what the mask hides
        is not read.
        """
        written: list[KeyValues] = []

        def self_branch(y_BLD: jax.Array) -> jax.Array:
            new = self.self_attention.key_values(y_BLD, rotation=around.rotation)
            written.append(write(past, by_head(new, self.self_attention.kv_heads_axis), around.slot))
            merged = MergedKeys(*memory(), around.cross_mask) if self.merges else None
            return self._attend_self(y_BLD, _by_place(written[0]), around, merged)

        def cross_branch(y_BLD: jax.Array) -> jax.Array:
            return self.cross_attention.attend(
                y_BLD, memory(), backend=around.cross_backend, mask=around.cross_mask
            )

        def memory() -> KeyValues:
            assert cross is not None, "cross-attention needs its projected memory"
            return _by_place(cross)

        x_BLD = self._add_branches(x_BLD, self_branch, cross_branch, split_or_none(None, 4))
        return x_BLD, written[0]

    def _project(self, around: Surroundings) -> KeyValues:
        """Return the keys and values of the encoder's output."""
        assert around.encoded_BMD is not None, "cross-attention needs the encoder's output"
        assert around.gathered_BMD is not None
        encoded_BMD = as_gathered(around.encoded_BMD, around.gathered_BMD, RESIDUAL_AXES, "heads")
        return self.memory_attention.key_values(encoded_BMD)

    def _attend_self(
        self,
        y_BLD: jax.Array,
        memory: KeyValues,
        around: Surroundings,
        merged: MergedKeys | None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        bias = around.bias
        if hasattr(self, "relpos_bias"):
            bias = self.relpos_bias(around.mask.query_offset, around.mask.num_texts)
        return self.self_attention.attend(
            y_BLD,
            memory,
            backend=around.backend,
            mask=around.mask,
            bias=bias,
            rotation=around.rotation,
            merged=merged,
            dropout_key=dropout_key,
        )

    def _add_branches(
        self, x_BLD: jax.Array, self_branch: Branch, cross_branch: Branch, keys: Keys
    ) -> jax.Array:
        def mlp_branch(y_BLD: jax.Array) -> jax.Array:
            return self.mlp(y_BLD, dropout_key=keys[0])

        if self.parallel:
            y_BLD = gather_for(self.self_attention_norm(x_BLD), RESIDUAL_AXES, "mlp")
            x_BLD = x_BLD + dropout(self_branch(y_BLD), self.dropout_rate, keys[1])
            if self.crosses:
                x_BLD = self._residual(x_BLD, "cross_attention", cross_branch, "heads", keys[2])
            return x_BLD + dropout(mlp_branch(y_BLD), self.dropout_rate, keys[3])
        x_BLD = self._residual(x_BLD, "self_attention", self_branch, "heads", keys[1])
        if self.crosses:
            x_BLD = self._residual(x_BLD, "cross_attention", cross_branch, "heads", keys[2])
        return self._residual(x_BLD, "mlp", mlp_branch, "mlp", keys[3])

    def _residual(
        self, x_BLD: jax.Array, name: str, branch: Branch, inner_axis: str, key: jax.Array | None
    ) -> jax.Array:
        norm: Norm | None = getattr(self, f"{name}_norm", None)
        y_BLD = x_BLD if norm is None or self.placement == "post" else norm(x_BLD)
        y_BLD = branch(gather_for(y_BLD, RESIDUAL_AXES, inner_axis))
        if self.placement == "around":
            y_BLD = getattr(self, f"{name}_post_norm")(y_BLD)
        x_BLD = x_BLD + dropout(y_BLD, self.dropout_rate, key)
        return norm(x_BLD) if norm is not None and self.placement == "post" else x_BLD


def _by_place(memory: KeyValues) -> KeyValues:
    """Return what lies by head as the op has it; no array is turned round, since its products are by head."""
    return KeyValues(*(x.swapaxes(1, 2) for x in memory))
