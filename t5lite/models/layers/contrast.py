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
    vectors_BTD: jax.Array, has_text_BT: jax.Array, numbers_B2: jax.Array, *, temperature: float
) -> jax.Array:
    """Return float32 ``[B, 2, 2 B]``: of anchors to all positives and negatives; of positives to anchors.

    The batch is the global one, on however many devices. What is right for a row is the column of its number.
    Another pair's text that is right as well, since it has the same anchor or is the same text, is no
    candidate (sentence-transformers leaves such pairs to a sampler of batches), nor are rows without a pair.

    Args:
      vectors_BTD: as of ``text_vectors``.
      has_text_BT: bool, which texts are there.
      numbers_B2: which texts anchors and positives are (``text_numbers``).
      temperature: what cosines are divided by.
    """
    anchors_BD, positives_BD, negatives_BD = (vectors_BTD[:, number] for number in range(NUM_TEXTS))
    same_BB = jnp.any(numbers_B2[:, None] == numbers_B2[None], axis=-1)
    is_pair_B = jnp.all(numbers_B2 >= 0, axis=-1)
    candidate_BB = is_pair_B[None] & (~same_BB | jnp.eye(len(same_BB), dtype=bool))
    is_negative_BB = jnp.broadcast_to((is_pair_B & has_text_BT[:, 2])[None], candidate_BB.shape)

    def compared(left_BD: jax.Array, right_CD: jax.Array, is_candidate_BC: jax.Array) -> jax.Array:
        cosines_BC = jnp.einsum("BD,CD->BC", left_BD, right_CD, precision=jax.lax.Precision.HIGHEST)
        return jnp.where(is_candidate_BC, cosines_BC / temperature, _NO_CANDIDATE)

    of_anchors_BC = jnp.concatenate(
        [
            compared(anchors_BD, positives_BD, candidate_BB),
            compared(anchors_BD, negatives_BD, is_negative_BB),
        ],
        axis=1,
    )
    of_positives_BB = compared(positives_BD, anchors_BD, candidate_BB)
    of_positives_BC = jnp.pad(
        of_positives_BB, ((0, 0), (0, len(of_positives_BB))), constant_values=_NO_CANDIDATE
    )
    return jnp.stack([of_anchors_BC, of_positives_BC], axis=1)
