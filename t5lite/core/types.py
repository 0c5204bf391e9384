"""The one legend of array suffixes and batch fields.

Array suffixes, also the letters of einsum strings; locals carry them (``q_BLHK``)::

    B batch      L length (query, decoder)   M memory length (key, encoder)
    D embed      H heads                     K kv (size of one head)
    F mlp        V vocab                     N layers
    G key and value heads, where fewer than H
    J heads x kv as one dimension (H K, or G K of keys and values)

Logical axis names of parameters and activations, mapped to mesh axes by ``partitioning.rules``, are in
``core.logical_axes``.

Batch fields (int32 unless said otherwise; per-host NumPy before the host loader, global
``jax.Array`` after it)::

    encoder_input_tokens   [B, M]
    decoder_input_tokens   [B, L]   targets shifted right, starting with the model's start_id (T5: 0)
    decoder_target_tokens  [B, L]
    decoder_loss_weights   [B, L]   float32, 0 on padding
    encoder_segment_ids    [B, M]   optional: 0 padding, 1.. packed examples
    decoder_segment_ids    [B, L]   optional: the same numbering, so cross-attention is masked too

A decoder-only model has the decoder's fields alone, with inputs as its objective makes them::

    decoder_bidirectional  [B, L]   optional: 1 on the inputs of a row that goes on with targets; where the
                                    model's prefix_attention is bidirectional, every position of their segment
                                    sees them, and other models ignore it

An encoder-only model has the encoder's, and what its head is trained on::

    encoder_token_types    [B, M]   optional: 0 sentence A, 1 sentence B
    encoder_target_tokens  [B, M]   masked LM: original tokens; token classification: labels
    encoder_loss_weights   [B, M]   float32, 0 where nothing is predicted
    sequence_labels        [B]      next sentence (0 is next, 1 random), or the class; negative: no label
    sequence_numbers       [B]      float32, the number to predict; NaN: none
    text_numbers           [B, 2]   which texts anchor and positive of a pair are: equal numbers, equal texts;
                                    negative: no pair. Texts are segments 1, 2 and 3 of a row
    negative_numbers       [B]      optional: which texts the hard negatives are; negative: there is none
    span_positions         [B, 2]   first and last position of an answer, (0, 0): none; negative: no label

All segment fields of a model are present or all absent; absent means no padding and one example a row.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import jax
    import numpy as np

PAD_ID = 0
"""Padding, and the token that the decoder inputs of most models start with."""
EOS_ID = 1
"""End of a sequence. Every vocabulary is checked to have these ids (``data.vocabulary``)."""

Batch: TypeAlias = "Mapping[str, np.ndarray | jax.Array]"
LogicalAxes: TypeAlias = tuple[str | None, ...]
Tree: TypeAlias = Any
"""A nested dict of arrays (parameters), or of anything that mirrors it (axes, shapes, shardings)."""
