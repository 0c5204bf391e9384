"""A stack of layers: embedded tokens in, hidden states out; whole sequences, or one position and a cache."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.models.config import AttentionSpec, AttentionView, LayerSpec, StackSpec
from t5lite.models.kernels.choice import choose_backend
from t5lite.models.kernels.shapes import AttentionShape
from t5lite.models.kernels.table import KERNELS
from t5lite.models.layers.attention import KeyValues
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.caches import (
    Past,
    by_head,
    empty,
    empty_past,
    past_of_prompts,
    positions_in,
    write,
    writers_at,
)
from t5lite.models.layers.dropout import dropout, layer_keys, split_or_none
from t5lite.models.layers.groups import LayerGroups, structure_groups
from t5lite.models.layers.layer import Layer, Surroundings
from t5lite.models.layers.making import Making
from t5lite.models.layers.norm import Norm
from t5lite.models.layers.position import (
    PositionTable,
    RelativeBias,
    RelativePositionBias,
    positions_in_segments,
    rotation,
    sinusoids,
)
from t5lite.models.layers.running import Grouped, layers_apart, run_layers
from t5lite.partitioning.constraints import gather_once
from t5lite.partitioning.rules import RESIDUAL_AXES, target_platform

Views = dict[tuple[AttentionSpec, AttentionSpec | None], Surroundings]
"""What layers see, by their ``attentions``."""
Memory = tuple[KeyValues, ...]
"""What of the encoder each layer attends to, projected: ``[B, G, M, K]``."""


class Stack(nnx.Module):
    """Layers on embedded tokens, with their positions and, unless they end in one, a norm at the end.

    Layers of like structure have one array a parameter, with the layers in front.
    """

    def __init__(self, spec: StackSpec, making: Making):
        if (bias := spec.positions.stack_bias) is not None:
            self.relpos_bias = RelativePositionBias(
                bias, spec.cycle[0].attention.num_heads, making, bidirectional=spec.bidirectional
            )
        if spec.num_positions:
            offset = spec.num_positions - spec.max_length
            self.positions = PositionTable(spec.num_positions, offset, spec.embed_dim, making)
        if spec.embedding_norm:
            self.embedding_norm = Norm(spec.norm, spec.embed_dim, making)
        groups = structure_groups(spec)
        for group, numbers in groups.layers.items():
            setattr(self, group, _make_layers(spec, numbers, making))
        if spec.final_norm:
            self.final_norm = Norm(spec.norm, spec.embed_dim, making)
        self.groups = tuple(groups.layers)
        self.spec, self.execution, self.dropout_rate = spec, making.execution, making.dropout_rate

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
          encoded_BMD: the encoder's output, where the layers attend to it.
          encoder_segment_ids_BM: 0 hides the encoder's padding; with ``segment_ids_BL``, other segments too.
          dropout_key: None is deterministic.
        """
        drops = dropout_key is not None and self.dropout_rate > 0.0
        x_BLD, views = self._enter(x_BLD, segment_ids_BL, bidirectional_BL, drops=drops)
        if encoded_BMD is not None:
            batch, length, _ = x_BLD.shape
            mask = AttentionMask(
                query_segment_ids_BL=segment_ids_BL, key_segment_ids_BM=encoder_segment_ids_BM
            )
            views = self._crossing(views, mask, (batch, length, encoded_BMD.shape[1]), drops=drops)
            gathered_BMD = gather_once(encoded_BMD, RESIDUAL_AXES, "heads")
            memory = {"encoded_BMD": encoded_BMD, "gathered_BMD": gathered_BMD}
            views = {seen: around._replace(**memory) for seen, around in views.items()}
        keys = split_or_none(dropout_key, 3)
        x_BLD = dropout(x_BLD, self.dropout_rate, keys[0])

        def body(spec: LayerSpec, layer: Layer, x_BLD: jax.Array, key: jax.Array | None) -> tuple[Any, None]:
            return layer(x_BLD, views[spec.attentions], dropout_key=key)[0], None

        all_layers = LayerGroups.of(self.spec, lambda _: None)
        layer_keys_N = all_layers.by_group(layer_keys(keys[1], self.spec.num_layers))
        x_BLD = self._run(body, x_BLD, Grouped(all_layers, layer_keys_N)).carry
        return self._finish(x_BLD, dropout_key=keys[2])

    def prefill(
        self,
        x_BLD: jax.Array,
        *,
        num_more: int,
        segment_ids_BL: jax.Array | None = None,
        bidirectional_BL: jax.Array | None = None,
    ) -> tuple[jax.Array, Past]:
        """Return ``[B, L, D]`` without dropout, and a cache with the sequences and room for ``num_more``."""
        x_BLD, views = self._enter(x_BLD, segment_ids_BL, bidirectional_BL)

        def body(spec: LayerSpec, layer: Layer, x_BLD: jax.Array) -> tuple[jax.Array, KeyValues]:
            x_BLD, own = layer(x_BLD, views[spec.attentions])
            return x_BLD, by_head(own, spec.attention.kv_heads_axis)

        run = self._run(body, x_BLD)
        return self._finish(run.carry), past_of_prompts(self.spec, run.by_layer(), num_more)

    def prefill_in_chunks(
        self, x_BLD: jax.Array, *, first_B: jax.Array, chunk_size: int, num_more: int
    ) -> tuple[jax.Array, Past]:
        """Return what ``prefill`` does of causal sequences that end at the last column.

        What grows with their length is what is kept (embedded tokens, hidden states, keys and values, also
        of positions that windows have left behind); all else, logits of attention above all, is of
        ``chunk_size`` queries.

        Args:
          x_BLD: embedded tokens, with padding in front.
          first_B: int32 column of each row's first token.
          chunk_size: positions that are read at once.
          num_more: as of ``prefill``.
        """
        batch_size, length, width = x_BLD.shape
        self.spec.check_length(length)
        padding = -length % chunk_size
        x_BLD, first_B = jnp.pad(x_BLD, ((0, 0), (padding, 0), (0, 0))), first_B + padding
        places = length + padding
        groups = LayerGroups.of(self.spec, lambda layer: (layer.attention.kv_heads, layer.attention.head_dim))

        def read(past: dict[str, Any], chunk: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            offset, x_BLD = chunk
            x_BLD, views = self._enter_chunk(x_BLD, first_B, offset, places)

            def body(spec: LayerSpec, layer: Layer, x_BLD: jax.Array, own: KeyValues) -> tuple[Any, Any]:
                x_BLD, own = layer.decode_step(x_BLD, views[spec.attentions], own, None)
                return x_BLD, jax.tree.map(
                    lambda x: jax.lax.dynamic_slice_in_dim(x, offset, chunk_size, axis=2), own
                )

            run = self._run(body, x_BLD, Grouped(groups, past))
            new = groups.stacked(run.by_layer())
            return {group: write(past[group], new[group], offset) for group in past}, self._finish(run.carry)

        dtype = jnp.dtype(self.execution.compute_dtype)
        none = groups.stacked([empty(each.attention, batch_size, places, dtype) for each in self.spec.layers])
        chunks = x_BLD.reshape(batch_size, -1, chunk_size, width).swapaxes(0, 1)
        offsets = jnp.arange(0, places, chunk_size, dtype=jnp.int32)
        past, hidden = jax.lax.scan(read, none, (offsets, chunks))
        own = jax.tree.map(lambda x: x[..., padding:, :], groups.apart(past))
        hidden_BLD = hidden.swapaxes(0, 1).reshape(batch_size, places, width)[:, padding:]
        return hidden_BLD, past_of_prompts(self.spec, own, num_more)

    def start(self, batch_size: int, length: int) -> Past:
        """Return an empty cache for ``length`` positions, in the compute dtype."""
        return empty_past(self.spec, batch_size, length, jnp.dtype(self.execution.compute_dtype))

    def cross_key_values(self, encoded_BMD: jax.Array) -> Memory:
        """Return every layer's memory of cross- or merged attention: computed once a sequence."""
        attentions = [layer.memory_attention for layer in self._apart()]
        return tuple(by_head(each.key_values(encoded_BMD), each.kv_heads_axis) for each in attentions)

    def decode_step(
        self,
        x_BLD: jax.Array,
        past: Past,
        *,
        position: jax.Array,
        first_B: jax.Array | None = None,
        writers_BLP: jax.Array | None = None,
        cross: Memory | None = None,
        encoder_segment_ids_BM: jax.Array | None = None,
    ) -> tuple[jax.Array, Past]:
        """Return the output for one position ``[B, L, D]`` and ``past`` with that position written.

        Args:
          x_BLD: the embedded token at ``position``, of each of L texts that a row has.
          past: from ``start`` or ``prefill``, every key and value so many times beside itself.
          position: int32 scalar, the same for all rows.
          first_B: position of each row's first token, after its padding; None is 0 for all.
          writers_BLP: int32, which text of its row wrote what a text has at a position; None where L is 1.
          cross: the result of ``cross_key_values``.
          encoder_segment_ids_BM: 0 hides the encoder's padding.
        """
        batch_size, num_texts, _ = x_BLD.shape
        positions_B1 = position[None, None] if first_B is None else position - first_B[:, None]
        views: Views = {}
        for spec, own in zip(self.spec.layers, past, strict=True):
            if spec.attentions not in views:
                view, num_keys = spec.attention.view, own.keys.shape[2]
                num_places = num_keys // num_texts
                place, key_positions_M = positions_in(self.spec, view, num_places, position)
                mask = self._mask_of_cache(view, num_places, key_positions_M, position, first_B)
                if writers_BLP is not None:
                    mask = replace(mask, writers_BLM=writers_at(writers_BLP, num_places, key_positions_M))
                around = self._surroundings(
                    spec.attention, mask, positions_B1, (batch_size, num_texts, num_keys)
                )
                views[spec.attentions] = around._replace(slot=place * num_texts)
        if cross is not None:
            mask = AttentionMask(key_segment_ids_BM=encoder_segment_ids_BM)
            views = self._crossing(views, mask, (batch_size, num_texts, cross[0].keys.shape[2]))
        x_BLD = self._embed_positions(x_BLD, positions_B1)
        written = []
        memories = [None] * self.spec.num_layers if cross is None else cross
        steps: dict[LayerSpec, Any] = {}
        for spec, layer, own, memory in zip(self.spec.layers, self._apart(), past, memories, strict=True):
            graphdef, state = nnx.split(layer)
            if spec not in steps:
                steps[spec] = _step_of_layer(graphdef, views[spec.attentions])
            x_BLD, own = steps[spec](state, x_BLD, own, memory)
            written.append(own)
        return self._finish(x_BLD), tuple(written)

    def take_apart(self) -> None:
        """Cut every layer's parameters from their stacks now, as ``decode_step`` else does at every position.

        XLA:CPU copies what is cut, and does not move the copy out of a loop over positions. An accelerator's
        products read the stacks.
        """
        if target_platform() == "cpu":
            self.apart = nnx.List(self._apart())

    def _apart(self) -> Sequence[Layer]:
        if hasattr(self, "apart"):
            return self.apart
        return layers_apart(self.spec, {group: getattr(self, group) for group in self.groups})

    def _run(self, body: Any, carry: Any, *xs: Grouped) -> Any:
        layers = {group: getattr(self, group) for group in self.groups}
        return run_layers(body, self.spec, layers, carry, *xs, execution=self.execution)

    def _mask_of_cache(
        self,
        view: AttentionView,
        num_places: int,
        key_positions_M: jax.Array | None,
        position: jax.Array,
        first_B: jax.Array | None,
    ) -> AttentionMask:
        """Return what one position sees of a cache; a ring holds no more than the window."""
        key_ids_BM = None
        if first_B is not None:
            places_M = jnp.arange(num_places) if key_positions_M is None else key_positions_M
            key_ids_BM = (places_M[None, :] >= first_B[:, None]).astype(jnp.int32)
        return AttentionMask(
            causal=True,
            key_segment_ids_BM=key_ids_BM,
            query_offset=position,
            window=view.window if key_positions_M is None else None,
            key_positions_M=key_positions_M,
        )

    def _finish(self, x_BLD: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        if not self.spec.final_norm:
            return x_BLD  # the last layer ended in a norm
        return dropout(self.final_norm(x_BLD), self.dropout_rate, dropout_key)

    def _enter(
        self,
        x_BLD: jax.Array,
        segment_ids_BL: jax.Array | None,
        bidirectional_BL: jax.Array | None,
        *,
        drops: bool = False,
    ) -> tuple[jax.Array, Views]:
        """Return whole sequences with their positions added, and what their layers attend by."""
        length = x_BLD.shape[1]
        self.spec.check_length(length)
        positions_BL = positions_in_segments(segment_ids_BL, length)
        views: Views = {}
        for layer in self.spec.layers:
            if layer.attentions not in views:
                mask = AttentionMask(
                    causal=not self.spec.bidirectional,
                    query_segment_ids_BL=segment_ids_BL,
                    key_segment_ids_BM=segment_ids_BL,
                    bidirectional_keys_BM=bidirectional_BL,
                    window=layer.attention.window,
                )
                views[layer.attentions] = self._surroundings(
                    layer.attention, mask, positions_BL, (x_BLD.shape[0], length, length), drops=drops
                )
        return self._embed_positions(x_BLD, positions_BL), views

    def _enter_chunk(
        self, x_BLD: jax.Array, first_B: jax.Array, offset: jax.Array, num_places: int
    ) -> tuple[jax.Array, Views]:
        """Return a part of sequences, from a position on, as ``_enter`` does of the whole."""
        batch_size, length, _ = x_BLD.shape
        columns_L = offset + jnp.arange(length, dtype=jnp.int32)
        positions_BL = jnp.maximum(columns_L[None] - first_B[:, None], 0)
        views: Views = {}
        for layer in self.spec.layers:
            if layer.attentions not in views:
                mask = self._mask_of_cache(layer.attention.view, num_places, None, offset, first_B)
                around = self._surroundings(
                    layer.attention, mask, positions_BL, (batch_size, length, num_places)
                )
                views[layer.attentions] = around._replace(slot=offset)
        return self._embed_positions(x_BLD, positions_BL), views

    def _surroundings(
        self,
        attention: AttentionSpec,
        mask: AttentionMask,
        positions_BL: jax.Array,
        sizes_BLM: tuple[int, int, int],
        *,
        drops: bool = False,
    ) -> Surroundings:
        backend, turned = self._backend(attention, mask, sizes_BLM, drops), None
        if attention.rotation is not None:
            turned = rotation(positions_BL, attention.head_dim, attention.rotation)._replace(backend=backend)
        return Surroundings(mask, backend, rotation=turned, bias=self._bias(mask, backend, sizes_BLM[1:]))

    def _crossing(
        self, views: Views, mask: AttentionMask, sizes_BLM: tuple[int, int, int], *, drops: bool = False
    ) -> Views:
        """Return the views of layers that attend to a memory, too."""
        crossing = dict(views)
        for (own, cross), around in views.items():
            if own.merged:
                crossing[own, cross] = around._replace(cross_mask=mask)
            if cross is not None:
                backend = self._backend(cross, mask, sizes_BLM, drops)
                crossing[own, cross] = around._replace(cross_mask=mask, cross_backend=backend)
        return crossing

    def _backend(
        self, attention: AttentionSpec, mask: AttentionMask, sizes_BLM: tuple[int, int, int], drops: bool
    ) -> str:
        shape = AttentionShape.of_layer(attention, self.execution, mask, sizes_BLM, drops=drops)
        return choose_backend(self.execution.attention, shape)

    def _bias(self, mask: AttentionMask, backend: str, lengths: tuple[int, int]) -> RelativeBias | None:
        if self.spec.positions.stack_bias is None:
            return None
        bias = self.relpos_bias(mask.query_offset, mask.num_texts)
        if backend in KERNELS and KERNELS[backend].computes_bias:
            return bias
        # The array is computed here, once, and not in each layer of the loop.
        return bias.computed(*lengths)

    def _embed_positions(self, x_BLD: jax.Array, positions_BL: jax.Array) -> jax.Array:
        if self.spec.num_positions:
            x_BLD = x_BLD + self.positions(positions_BL)
        if self.spec.positions.adds_sines:
            x_BLD = x_BLD + sinusoids(positions_BL, x_BLD.shape[-1]).astype(x_BLD.dtype)
        return self.embedding_norm(x_BLD) if self.spec.embedding_norm else x_BLD


def _step_of_layer(graphdef: Any, around: Surroundings) -> Any:
    """Return a layer's step for all layers that are alike: they are traced once, and inlined by XLA."""

    @jax.jit
    def step(
        state: nnx.State, x_BLD: jax.Array, past: KeyValues, cross: KeyValues | None
    ) -> tuple[jax.Array, KeyValues]:
        return nnx.merge(graphdef, state).decode_step(x_BLD, around, past, cross)

    return step


def _make_layers(spec: StackSpec, numbers: tuple[int, ...], making: Making) -> Layer:
    """Return one layer whose parameters are those of several, stacked."""

    @nnx.split_rngs(splits=len(numbers))
    @nnx.vmap(in_axes=(0,), out_axes=0, transform_metadata={nnx.PARTITION_NAME: "layers"})
    def make(rngs: nnx.Rngs) -> Layer:
        layer = spec.layers[numbers[0]].structure
        return Layer(layer, replace(making, rngs=rngs), bidirectional=spec.bidirectional)

    return make(making.rngs)
