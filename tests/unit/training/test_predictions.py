"""What each architecture is asked, and how several answers make one objective."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from t5lite.core.errors import ConfigError
from t5lite.models.functional import build
from t5lite.training.config import StepConfig
from t5lite.training.logit_statistics import logit_statistics
from t5lite.training.losses import batch_losses, loss_factors
from t5lite.training.predictions import (
    Prediction,
    Target,
    num_real_tokens,
    predictions,
    targets,
)
from t5lite.training.step import check_loss
from tests.families import FAMILIES, make_batch

BERT = FAMILIES["bert"]


def head(name: str):
    return dataclasses.replace(BERT, head=name)


def test_targets_of_a_bert_in_pretraining_are_tokens_and_sentences():
    batch = make_batch(BERT)
    batch["sequence_labels"][2] = -1
    tokens, sequence = targets(BERT, batch)
    assert (tokens.name, sequence.name) == ("tokens", "sequence")
    np.testing.assert_array_equal(tokens.targets_BL, batch["encoder_target_tokens"])
    np.testing.assert_array_equal(tokens.weights_BL, batch["encoder_loss_weights"])
    assert sequence.weights_BL[:, 0].tolist() == [1, 1, 0, 1, 1, 1, 1, 1]
    assert sequence.targets_BL.min() >= 0


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("masked_lm", {}),
        ("sequence_classification", {}),
        ("token_classification", {}),
        ("span_extraction", {"span_positions": np.arange(16).reshape(8, 2) % 12}),
    ],
)
def test_every_head_has_logits_for_its_targets(name, fields):
    config, batch = head(name), make_batch(BERT)
    model = build(config)
    names = []

    def run(params):
        found = predictions(model.bind(params), batch | fields)
        names.extend(prediction.name for prediction in found)
        return [
            (logit_statistics(item.logits, item.targets_BL).target, item.targets_BL, item.weights_BL)
            for item in found
        ]

    for target_logits_BL, targets_BL, weights_BL in jax.eval_shape(run, model.abstract_params):
        assert target_logits_BL.shape == targets_BL.shape == weights_BL.shape
    assert names == [output.name for output in config.outputs]


def test_numbers_have_squared_errors_as_pytorch_has_them():
    """Those that are none count nothing, negative ones do."""
    rng = np.random.default_rng(0)
    numbers_B = rng.normal(size=8).astype(np.float32)
    found_B = rng.normal(size=8).astype(np.float32)
    numbers_B[[2, 5]] = np.nan
    (target,) = targets(head("sequence_regression"), {"sequence_numbers": numbers_B})
    prediction = Prediction(
        "sequence", found_B[:, None, None], target.targets_BL, target.weights_BL, target.loss
    )
    losses = batch_losses([prediction], [1.0], z_loss=0.1)
    counted = np.isfinite(numbers_B)
    expected = torch.nn.functional.mse_loss(
        torch.from_numpy(found_B[counted]), torch.from_numpy(numbers_B[counted])
    )
    for found in (losses.objective, losses.outputs[0].loss):
        assert float(found.mean()) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.slow
def test_a_span_costs_what_transformers_says_it_costs():
    """Half the cross-entropy of its first position and half that of its last; rows without count nothing."""
    batch = make_batch(head("span_extraction"))
    batch["encoder_segment_ids"][:] = 1  # transformers lets padding take part
    positions_B2 = np.array([[2, 5], [0, 0], [7, 7], [-1, -1], [3, 11], [1, 2], [4, 9], [0, 0]], np.int32)
    model = build(head("span_extraction"))
    params = model.init(jax.random.key(0))
    (prediction,) = predictions(model.bind(params), batch | {"span_positions": positions_B2})
    losses = batch_losses([prediction], [1.0])
    logits, wanted = torch.from_numpy(np.array(prediction.logits)), torch.from_numpy(positions_B2).long()
    each = [
        torch.nn.functional.cross_entropy(logits[:, end], wanted[:, end], ignore_index=-1) for end in (0, 1)
    ]
    assert float(losses.outputs[0].loss.mean()) == pytest.approx(float(sum(each)) / 2, rel=1e-6)


@pytest.mark.parametrize("name", ["span_extraction", "sequence_regression"])
def test_what_has_no_wrong_labels_to_share_among_is_not_smoothed(name):
    """Padding is no position of a row: a part of the label there would cost without end."""
    with pytest.raises(
        ConfigError, match=f"label_smoothing=0.1 .*{name}.* numbers or positions; set it to 0"
    ):
        check_loss(build(head(name)), StepConfig(label_smoothing=0.1))
    check_loss(build(head("token_classification")), StepConfig(label_smoothing=0.1))


def test_a_head_that_predicts_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"head='pooled' predicts nothing .* use one of masked_lm"):
        targets(head("pooled"), make_batch(BERT))


def some_predictions(rows: int, seed: int) -> list[Prediction]:
    rng = np.random.default_rng(seed)

    def one(name: str, length: int, classes: int, weights):
        logits = jnp.asarray(rng.standard_normal((rows, length, classes)), jnp.float32)
        wanted = jnp.asarray(rng.integers(0, classes, (rows, length)))
        return Prediction(name, logits, wanted, jnp.asarray(weights, jnp.float32))

    weights = rng.random((rows, 5)) < 0.5
    return [one("tokens", 5, 7, weights), one("sequence", 1, 2, rng.random((rows, 1)) < 0.7)]


def as_targets(items: list[Prediction]) -> list[Target]:
    return [Target(item.name, item.targets_BL, item.weights_BL) for item in items]


def test_the_objective_is_the_sum_of_the_means():
    items = some_predictions(8, 0)
    losses = batch_losses(items, loss_factors(as_targets(items)))
    tokens, sequence = losses.outputs
    expected = tokens.loss.mean() + sequence.loss.mean()
    assert float(losses.objective.mean()) == pytest.approx(float(expected), rel=1e-6)


def test_parts_of_unequal_weight_add_up_to_the_objective_of_the_whole():
    items = some_predictions(8, 1)
    factors = loss_factors(as_targets(items))
    whole = batch_losses(items, factors, z_loss=0.01, label_smoothing=0.1)

    def part(rows: slice):
        parts = [Prediction(item.name, *(array[rows] for array in item[1:4])) for item in items]
        return batch_losses(parts, factors, z_loss=0.01, label_smoothing=0.1)

    added = jax.tree.map(jnp.add, part(slice(0, 3)), part(slice(3, 8)))
    for a, b in zip(jax.tree.leaves(added), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_an_output_without_weight_counts_nothing():
    items = some_predictions(4, 2)
    items[1] = items[1]._replace(weights_BL=jnp.zeros((4, 1)))
    losses = batch_losses(items, loss_factors(as_targets(items)))
    expected = losses.outputs[0].loss.mean()
    assert float(losses.objective.mean()) == pytest.approx(float(expected))


def test_tokens_are_counted_by_segments_and_not_by_their_ids():
    decoder = {
        "decoder_input_tokens": np.zeros((2, 4), np.int32),
        "decoder_loss_weights": np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.float32),
    }
    assert int(num_real_tokens(decoder)) == 6
    segments = {"decoder_segment_ids": np.array([[1, 1, 2, 0], [1, 1, 1, 1]], np.int32)}
    assert int(num_real_tokens(decoder | segments)) == 7
    encoder = {"encoder_input_tokens": np.zeros((2, 5), np.int32)}
    assert int(num_real_tokens(encoder)) == 10
    assert int(num_real_tokens(encoder | decoder)) == 16
