"""Vectors of the texts of pairs, and how alike those of a batch are."""

import jax
import jax.numpy as jnp

from t5lite.models.config import Pooling
from t5lite.models.layers.pooling import normalised, pooled

NUM_TEXTS = 3
"""Of a row, its segments from 1: anchor, positive, and a hard negative, which may not be there."""
_NO_CANDIDATE = -1e9


def text_vectors(hidden_BMD: jax.Array, segment_ids_BM: jax.Array, pooling: Pooling) -> jax.Array:
    """Return the vectors of each row's texts, float32 ``[B, NUM_TEXTS, D]`` of length 1; zeros of none."""
    vectors = [
        normalised(pooled(hidden_BMD, segment_ids_BM == number, pooling))
        for number in range(1, NUM_TEXTS + 1)
    ]
    return jnp.stack(vectors, axis=1)


def similarities(
    vectors_BTD: jax.Array,
    numbers_B2: jax.Array,
    negatives_B: jax.Array | None,
    *,
    temperature: float,
    symmetric: bool,
) -> jax.Array:
    """Return float32 ``[B, 1, B]``, of anchors to all positives.

    With negatives these follow the positives, ``[B, 1, 2 B]``, and ``symmetric`` adds a row of each positive
    to all anchors. The batch is the global one, on however many devices. What is right for a row is the
    column of its number. A text of another pair that is right as well, since it has the same anchor or is the
    same text, and one that is the anchor itself are no candidates (sentence-transformers leaves such pairs to
    a sampler of batches), nor are rows without a pair.

    Args:
      vectors_BTD: as of ``text_vectors``.
      numbers_B2: which texts anchors and positives are (``text_numbers``).
      negatives_B: which texts hard negatives are (``negative_numbers``); None: there are none.
      temperature: what cosines are divided by.
      symmetric: whether positives are compared, too.
    """
    anchors_BD, positives_BD, negatives_BD = (vectors_BTD[:, number] for number in range(NUM_TEXTS))
    is_pair_B = jnp.all(numbers_B2 >= 0, axis=-1)
    is_right_BB = jnp.any(numbers_B2[:, None] == numbers_B2[None], axis=-1)
    is_anchor_BB = numbers_B2[:, None, 0] == numbers_B2[None, :, 1]

    def candidates(is_none_BB: jax.Array) -> jax.Array:
        return is_pair_B[None] & (~is_none_BB | jnp.eye(len(is_none_BB), dtype=bool))

    def compared(left_BD: jax.Array, right_CD: jax.Array, is_candidate_BC: jax.Array) -> jax.Array:
        cosines_BC = jnp.einsum("BD,CD->BC", left_BD, right_CD, precision=jax.lax.Precision.HIGHEST)
        return jnp.where(is_candidate_BC, cosines_BC / temperature, _NO_CANDIDATE)

    of_anchors_BC = compared(anchors_BD, positives_BD, candidates(is_right_BB | is_anchor_BB))
    if negatives_B is not None:
        is_wrong_BB = jnp.all(numbers_B2[:, None] != negatives_B[None, :, None], axis=-1)
        is_negative_BB = (is_pair_B & (negatives_B >= 0))[None] & is_wrong_BB
        of_negatives_BB = compared(anchors_BD, negatives_BD, is_negative_BB)
        of_anchors_BC = jnp.concatenate([of_anchors_BC, of_negatives_BB], axis=1)
    if not symmetric:
        return of_anchors_BC[:, None]
    of_positives_BB = compared(positives_BD, anchors_BD, candidates(is_right_BB | is_anchor_BB.T))
    num_others = of_anchors_BC.shape[1] - of_positives_BB.shape[1]
    of_positives_BC = jnp.pad(of_positives_BB, ((0, 0), (0, num_others)), constant_values=_NO_CANDIDATE)
    return jnp.stack([of_anchors_BC, of_positives_BC], axis=1)
