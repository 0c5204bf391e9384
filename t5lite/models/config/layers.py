"""A layer is a value, and a stack a pattern of them: modules, caches, counts and planner derive from it."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from t5lite.core.batch_fields import Side
from t5lite.core.errors import ConfigError
from t5lite.models.config.attention import AttentionBiases, Window
from t5lite.models.config.mlps import MLPKind
from t5lite.models.config.norms import NormKind, NormPlacement
from t5lite.models.config.positions import PositionKind, RelativePositions, RotaryPositions


@dataclass(frozen=True, kw_only=True)
class AttentionSpec:
    """One attention of a layer."""

    embed_dim: int
    memory_dim: int
    """Width of what keys and values are made of."""
    num_heads: int
    kv_heads: int
    """Heads of keys and values, each shared by a group of query heads."""
    head_dim: int
    scale: float
    """Factor on the logits."""
    softcap: float | None = None
    qk_norm: NormKind | None = None
    """Of each head of queries and keys."""
    biases: AttentionBiases = "none"
    window: Window | None = None
    rotation: RotaryPositions | None = None
    merged: bool = False
    """Whether one softmax is over its own keys and those of another stack's output, made by the same kernels:
    these are seen whole, and not rotated (T5Gemma 2)."""

    @property
    def width(self) -> int:
        """Columns of all query heads."""
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Columns of all key heads, or value heads."""
        return self.kv_heads * self.head_dim

    @property
    def kv_heads_axis(self) -> str | None:
        """Logical axis of key and value heads; None for the one head of multi-query attention."""
        if self.kv_heads == self.num_heads:
            return "heads"
        return "kv_heads" if self.kv_heads > 1 else None

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        total = 2 * self.embed_dim * self.width + 2 * self.memory_dim * self.kv_width
        if self.biases != "none":
            total += self.width + 2 * self.kv_width
        if self.biases == "all":
            total += self.embed_dim
        return total + (2 * self.qk_norm.num_parameters(self.head_dim) if self.qk_norm else 0)

    def num_visible(self, key_length: int) -> int:
        """Return how many of its own keys a query sees at most, by its window."""
        return key_length if self.window is None else min(key_length, self.window.span)

    def num_merged(self, memory_length: int | None) -> int:
        """Return how many keys there are besides its own, of another stack's output of this length."""
        return memory_length if self.merged and memory_length is not None else 0

    @property
    def view(self) -> "AttentionView":
        """What of it changes no parameter."""
        return AttentionView(self.window, self.rotation)


class AttentionView(NamedTuple):
    """What a query sees of the keys, and from where: the part of attention that has no parameters."""

    window: Window | None
    rotation: RotaryPositions | None


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One layer: self-attention, maybe cross-attention, merged or apart, MLP, and their norms."""

    attention: AttentionSpec
    cross_attention: AttentionSpec | None = None
    mlp: MLPKind
    mlp_dim: int
    norm: NormKind
    norm_placement: NormPlacement = "pre"
    attention_norm: bool = True
    """False leaves the norm before self-attention out: what comes in is normalised already."""
    parallel: bool = False
    """x + attention(norm(x)) + mlp(norm(x)), one norm for both (PaLM)."""
    relative_positions: RelativePositions | None = None
    """The layer's own table of T5's bias."""

    @property
    def attentions(self) -> tuple[AttentionSpec, AttentionSpec | None]:
        """Self-attention and cross-attention: layers in which they are alike attend alike."""
        return self.attention, self.cross_attention

    @property
    def embed_dim(self) -> int:
        """Width of the residual stream."""
        return self.attention.embed_dim

    @property
    def num_blocks(self) -> int:
        """Residual branches whose outputs are summed apart; parallel ones are summed together."""
        return 2 - self.parallel + (self.cross_attention is not None)

    @property
    def num_norms(self) -> int:
        """Norms over the width of the residual stream."""
        norms = self.num_blocks * (2 if self.norm_placement == "around" else 1)
        return norms - (not self.attention_norm)

    @property
    def norms_mlp_output(self) -> bool:
        """Whether a norm reads what the MLP gives, alone or in a sum."""
        return self.norm_placement != "pre"

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        total = self.attention.num_parameters + self.num_norms * self.norm.num_parameters(self.embed_dim)
        if self.cross_attention is not None:
            total += self.cross_attention.num_parameters
        total += (self.mlp.num_inputs + 1) * self.embed_dim * self.mlp_dim
        if self.mlp.bias:
            total += self.mlp.num_inputs * self.mlp_dim + self.embed_dim
        if self.relative_positions is not None:
            total += self.relative_positions.num_buckets * self.attention.num_heads
        return total

    @cached_property
    def structure(self) -> "LayerSpec":
        """The layer without what changes no parameter: layers of one structure share arrays."""
        return dataclasses.replace(
            self, attention=dataclasses.replace(self.attention, window=None, rotation=None)
        )


@dataclass(frozen=True, kw_only=True)
class StackSpec:
    """One stack of layers: a few first ones, then a cycle that is repeated, the last time maybe in part."""

    side: Side
    """Whose tokens it reads."""
    num_layers: int
    cycle: tuple[LayerSpec, ...]
    first: tuple[LayerSpec, ...] = ()
    memory: Side | None = None
    """Whose output its layers attend to besides their own input."""
    positions: PositionKind
    norm: NormKind
    embedding_norm: bool = False
    """Norm of the embedded tokens before the first layer."""
    max_length: int
    """Longest sequence of a learned table."""

    @property
    def bidirectional(self) -> bool:
        """Whether a position sees later ones."""
        return self.side == "encoder"

    @property
    def embed_dim(self) -> int:
        """Width of the residual stream."""
        return self.cycle[0].embed_dim

    @property
    def merged(self) -> bool:
        """Whether its self-attention is over the memory too."""
        return self.cycle[0].attention.merged

    @property
    def final_norm(self) -> bool:
        """Whether a norm follows the last layer, which does not end in one."""
        return self.cycle[0].norm_placement != "post"

    @property
    def num_positions(self) -> int:
        """Rows of a learned table of positions, its offset included; 0 without one."""
        return self.positions.num_rows(self.max_length)

    def check_length(self, length: int) -> None:
        """Check that a sequence of ``length`` tokens has a position for each.

        Raises:
          ConfigError: if a learned table is shorter.
        """
        if self.num_positions and length > self.max_length:
            raise ConfigError(
                f"a sequence of {length} tokens is longer than the {self.max_length} rows that the learned "
                f"position table has for it; use at most {self.max_length}, or raise model.max_length before "
                "training"
            )

    @property
    def num_cycles(self) -> int:
        """Whole turns of the cycle: those of the loop over layers."""
        return max(self.num_layers - len(self.first), 0) // len(self.cycle)

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        """Every layer in order."""
        turns = -(-self.num_layers // len(self.cycle))
        return (*self.first, *self.cycle * turns)[: self.num_layers]

    @property
    def counts(self) -> dict[LayerSpec, int]:
        """The different layers, each with how many there are."""
        counts: dict[LayerSpec, int] = {}
        for layer in self.layers:
            counts[layer] = counts.get(layer, 0) + 1
        return counts

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        total = sum(layer.num_parameters for layer in self.layers)
        total += self.num_positions * self.embed_dim
        if (bias := self.positions.stack_bias) is not None:
            total += bias.num_buckets * self.cycle[0].attention.num_heads
        norms = self.embedding_norm + self.final_norm
        return total + norms * self.norm.num_parameters(self.embed_dim)


def attentions(stacks: Iterable[StackSpec]) -> Iterator[AttentionSpec]:
    """Yield the attentions of the layers of a cycle, and of those before it, of every stack."""
    for stack in stacks:
        for layer in (*stack.first, *stack.cycle):
            yield layer.attention
            if layer.cross_attention is not None:
                yield layer.cross_attention


def head_counts(stacks: Iterable[StackSpec]) -> dict[str, tuple[int, ...]]:
    """Return the numbers of heads by logical axis, each number once."""
    counts: dict[str, tuple[int, ...]] = {}
    for attention in attentions(stacks):
        for axis, count in (
            ("heads", attention.num_heads),
            (attention.kv_heads_axis, attention.kv_heads),
        ):
            if axis is not None and count not in counts.get(axis, ()):
                counts[axis] = (*counts.get(axis, ()), count)
    return counts
