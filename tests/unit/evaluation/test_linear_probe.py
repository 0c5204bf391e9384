"""The probe is scikit-learn's logistic regression; its features are those of the whole model's layers."""

import jax
import numpy as np
import pytest
import sklearn.linear_model

from t5lite.core.errors import ConfigError
from t5lite.evaluation.encoder_features import EncoderFeatures, num_encoder_layers
from t5lite.evaluation.linear_probe import logistic_regression, probe
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, NormalInitializer
from t5lite.models.functional import build

SIZES = {"vocab_size": 40, "embed_dim": 8, "mlp_dim": 8, "head_dim": 4, "num_heads": 2}
SIZES |= {"initializer": NormalInitializer(std=0.5)}


def clusters(num_classes: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(num_classes, size=count)
    return rng.normal(size=(count, 5)) + 2 * np.eye(num_classes, 5)[labels_N], labels_N


@pytest.mark.parametrize("num_classes", [2, 4])
def test_it_is_scikit_learns_multinomial_regression(num_classes):
    features_ND, labels_N = clusters(num_classes, 60, seed=num_classes)
    kernel_DC, bias_C = logistic_regression(features_ND, labels_N, num_classes=num_classes)
    logits_NC = features_ND @ kernel_DC + bias_C
    # Of two classes scikit-learn has one kernel, the difference of ours, whose squared norm is twice theirs.
    expected = sklearn.linear_model.LogisticRegression(C=1.0 if num_classes > 2 else 2.0, tol=1e-9)
    found_NC = expected.fit(features_ND, labels_N).decision_function(features_ND)
    differences = logits_NC - logits_NC.mean(axis=1, keepdims=True)
    if num_classes == 2:
        differences = logits_NC[:, 1] - logits_NC[:, 0]
    np.testing.assert_allclose(differences, found_NC, atol=2e-3)


def test_a_probe_finds_what_is_there_and_its_control_nothing():
    features_ND, labels_N = clusters(3, 300, seed=0)
    constant_ND = np.concatenate([features_ND, np.ones((300, 1))], axis=1)
    found = probe(constant_ND[:200], labels_N[:200], constant_ND[200:], labels_N[200:])
    assert np.mean(found.predictions_N == labels_N[200:]) > 0.8
    assert np.mean(found.control_N == found.control_labels_N) < 0.5
    assert sorted(found.control_labels_N) == sorted(labels_N[200:])


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        EncoderOnlyConfig(num_layers=2, max_length=16, **SIZES),
        EncoderDecoderConfig(num_encoder_layers=2, num_decoder_layers=1, **SIZES),
    ],
    ids=lambda config: config.architecture,
)
def test_features_are_means_over_tokens_whatever_the_batch(config):
    model = build(config)
    params = jax.jit(model.init)(jax.random.key(0))
    rows = [np.arange(2, 2 + length, dtype=np.int32) for length in (5, 3, 9)]
    features = [EncoderFeatures(model, layer=layer, batch_size=2)(params, rows) for layer in (1, 2)]
    for row, found in zip(rows, features[1], strict=True):
        expected = np.asarray(model.bind(params).encode(row[None]))[0].mean(axis=0)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
    assert num_encoder_layers(model) == 2
    assert not np.allclose(features[0], features[1])


def test_a_decoder_alone_has_no_encoder():
    with pytest.raises(ConfigError, match="no encoder"):
        num_encoder_layers(build(DecoderOnlyConfig(num_layers=1, **SIZES)))
