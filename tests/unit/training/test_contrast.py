"""The contrast of pairs is the cross-entropy of sentence-transformers' ranking loss, over real candidates."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from t5lite.core.errors import ConfigError
from t5lite.models.config import EncoderOnlyConfig, SentenceEmbedding
from t5lite.models.functional import build
from t5lite.models.layers.contrast import similarities
from t5lite.models.layers.pooling import normalised
from t5lite.training.config import StepConfig
from t5lite.training.losses import batch_losses
from t5lite.training.predictions import Prediction, targets
from t5lite.training.step import check_loss

SIZES = {"vocab_size": 40, "embed_dim": 8, "mlp_dim": 8, "head_dim": 4, "num_heads": 2, "num_layers": 1}
TEMPERATURE = 0.05


def config(**embedding) -> EncoderOnlyConfig:
    return EncoderOnlyConfig(**SIZES, head="sentence_embedding", embedding=SentenceEmbedding(**embedding))


def vectors(rows: int, seed: int = 0) -> jax.Array:
    return normalised(jax.random.normal(jax.random.key(seed), (rows, 3, 8)))


def contrasted(vectors_BTD, numbers_B2, *, has_negatives=True, negatives_B=None, symmetric=False):
    """Return the losses of a batch, whose pairs are all there if their numbers are not negative.

    Hard negatives are texts that are nowhere else, unless it is said which.
    """
    if has_negatives and negatives_B is None:
        negatives_B = 100 + np.arange(len(numbers_B2))
    numbers = (jnp.asarray(numbers_B2), negatives_B if negatives_B is None else jnp.asarray(negatives_B))
    alike = similarities(vectors_BTD, *numbers, temperature=TEMPERATURE, symmetric=symmetric)
    (target,) = targets(config(symmetric=symmetric), {"text_numbers": numbers_B2})
    return batch_losses([Prediction("similarities", alike, *target[1:])], [1.0]).outputs[0]


def ranking_loss(anchors, candidates, labels) -> float:
    """As MultipleNegativesRankingLoss: cosine similarity times 20, cross-entropy, mean."""
    anchors, candidates = (torch.tensor(np.asarray(each)) for each in (anchors, candidates))
    scores = torch.nn.functional.normalize(anchors) @ torch.nn.functional.normalize(candidates).T * 20
    return torch.nn.functional.cross_entropy(scores, torch.tensor(labels)).item()


@pytest.mark.slow
@pytest.mark.parametrize("has_negatives", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_it_is_the_ranking_loss(has_negatives, symmetric):
    found_BTD, rows = vectors(6), np.arange(6)
    numbers_B2 = np.stack([rows, 10 + rows], axis=1)
    anchors, positives, negatives = (found_BTD[:, number] for number in range(3))
    candidates = jnp.concatenate([positives, negatives]) if has_negatives else positives
    expected = ranking_loss(anchors, candidates, rows)
    if symmetric:
        expected = (expected + ranking_loss(positives, anchors, rows)) / 2
    losses = contrasted(found_BTD, numbers_B2, has_negatives=has_negatives, symmetric=symmetric)
    assert losses.objective.mean() == pytest.approx(expected, rel=1e-5)
    assert losses.loss.weight == 6 * (1 + symmetric)


@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_right_as_well_is_no_negative_and_rows_without_a_pair_are_not_there(symmetric):
    """Rows 0 and 1 have one anchor, 2 and 3 one positive, the last two none at all."""
    numbers_B2 = np.array([[0, 10], [0, 11], [2, 15], [3, 15], [4, 16], [-1, -1], [-1, -1]], np.int32)
    found_BTD = vectors(7)
    losses = contrasted(found_BTD, numbers_B2, symmetric=symmetric)
    alone = {0: [0, 2, 3, 4], 1: [1, 2, 3, 4], 2: [2, 0, 1, 4], 3: [3, 0, 1, 4], 4: [4, 0, 1, 2, 3]}
    expected = []
    for row, others in alone.items():
        candidates = jnp.concatenate([found_BTD[np.array(others), 1], found_BTD[:5, 2]])
        expected.append(ranking_loss(found_BTD[row : row + 1, 0], candidates, [0]))
        if symmetric:
            anchors = found_BTD[np.array(others), 0]
            expected.append(ranking_loss(found_BTD[row : row + 1, 1], anchors, [0]))
    assert losses.loss.mean() == pytest.approx(np.mean(expected), rel=1e-5)


def test_an_anchor_itself_is_no_candidate_nor_is_a_negative_that_is_right():
    """Positive 1 is anchor 0 and negative 2 too; negative 0 is positive 1; row 1 has no negative."""
    found_BTD = vectors(3)
    numbers_B2, negatives_B = np.array([[0, 10], [1, 0], [2, 12]]), np.array([0, -1, 10])
    losses = contrasted(found_BTD, numbers_B2, negatives_B=negatives_B, symmetric=True)
    anchors, positives, negatives = (found_BTD[:, number] for number in range(3))
    candidates = [
        (anchors[:1], [positives[0], positives[2]]),
        (anchors[1:2], [positives[1], positives[0], positives[2], negatives[2]]),
        (anchors[2:], [positives[2], positives[0], positives[1], negatives[0], negatives[2]]),
        (positives[:1], [anchors[0], anchors[1], anchors[2]]),
        (positives[1:2], [anchors[1], anchors[2]]),
        (positives[2:], [anchors[2], anchors[0], anchors[1]]),
    ]
    expected = [ranking_loss(text, jnp.stack(others), [0]) for text, others in candidates]
    assert losses.loss.mean() == pytest.approx(np.mean(expected), rel=1e-5)


def test_only_what_is_asked_for_is_compared():
    shapes = {
        (symmetric, negatives is None): similarities(
            vectors(3), jnp.zeros((3, 2), int), negatives, temperature=1, symmetric=symmetric
        ).shape
        for symmetric in (False, True)
        for negatives in (None, jnp.zeros(3, int))
    }
    assert shapes == {
        (False, True): (3, 1, 3),
        (False, False): (3, 1, 6),
        (True, True): (3, 2, 3),
        (True, False): (3, 2, 6),
    }


def test_vectors_that_are_all_the_same_are_never_accurate():
    same_BTD = jnp.broadcast_to(vectors(1)[:, :1], (4, 3, 8))
    rows = np.arange(4)
    losses = contrasted(same_BTD, np.stack([rows, 10 + rows], axis=1))
    assert losses.accuracy.mean() == 0
    assert losses.loss.mean() == pytest.approx(np.log(8), rel=1e-5)


def test_dropout_does_not_tell_which_texts_belong_together():
    """Of one text twice in a row each has a mask of its own, as transformers' have."""
    model = build(replace(config(), dropout_rate=0.5))
    params = model.init(jax.random.key(0))
    rows = np.arange(2)
    batch = {
        "encoder_input_tokens": np.array([[5, 6, 7, 5, 6, 7]] * 2),
        "encoder_segment_ids": np.array([[1, 1, 1, 2, 2, 2]] * 2),
        "text_numbers": np.stack([rows, 10 + rows], axis=1),
    }
    read = model.bind(params)(batch)["texts"]
    np.testing.assert_allclose(read[:, 0], read[:, 1], atol=1e-6)
    trained = model.bind(params)(batch, dropout_key=jax.random.key(1))["texts"]
    cosines = np.einsum("TD,UD->TU", *[np.concatenate([trained[:, 0], trained[:, 1]])] * 2)
    assert cosines[~np.eye(4, dtype=bool)].max() < 0.99


def test_a_batch_is_not_divided_and_a_temperature_is_in_a_range():
    with pytest.raises(ConfigError, match=r"num_microbatches=2 divides a batch, but with model.head='sent"):
        check_loss(build(config()), StepConfig(num_microbatches=2))
    with pytest.raises(ConfigError, match=r"temperature=0.0 must be from 0.001 to 100"):
        SentenceEmbedding(temperature=0.0)
    with pytest.raises(ConfigError, match=r"embedding.pooling"):
        SentenceEmbedding(pooling="max")  # pyright: ignore[reportArgumentType]
