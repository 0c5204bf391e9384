"""A sentence's score is that of its definition, token by token, whatever it is batched with."""

import dataclasses
import tracemalloc
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.evaluation.minimal_pairs import sentence_scorer
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, NormalInitializer
from t5lite.models.functional import build

VOCABULARY = ByteVocabulary(extra_ids=5)
SENTENCES = [VOCABULARY.encode(text) for text in ("Sí, cat.", "no")]
SIZES = {"vocab_size": VOCABULARY.size, "embed_dim": 16, "mlp_dim": 16, "head_dim": 8, "num_heads": 2}
SIZES |= {"initializer": NormalInitializer(std=0.5)}
MODELS = {
    "decoder_only": DecoderOnlyConfig(num_layers=1, **SIZES),
    "encoder_decoder": EncoderDecoderConfig(num_encoder_layers=1, num_decoder_layers=1, **SIZES),
    "encoder_only": EncoderOnlyConfig(num_layers=1, max_length=32, **SIZES),
}


def by_definition(name: str, model, params, ids: np.ndarray) -> float:
    eos, sentinel, places = VOCABULARY.eos_id, VOCABULARY.sentinel(0), np.arange(len(ids))
    special = special_tokens(VOCABULARY)
    if name == "decoder_only":
        batch, at = {"decoder_input_tokens": np.array([[eos, *ids[:-1]]])}, (0, places)
    elif name == "encoder_only":
        hidden_LL = np.where(np.eye(len(ids)), special.mask, ids)
        rows = [[special.cls, *row, special.sep] for row in hidden_LL]
        batch, at = {"encoder_input_tokens": np.array(rows)}, (places, places + 1)
    else:
        rows = [[*row, eos] for row in np.where(np.eye(len(ids)), sentinel, ids)]
        batch = {"encoder_input_tokens": np.array(rows)}
        batch["decoder_input_tokens"] = np.array([[0, sentinel]] * len(ids))
        at = (places, 1)
    logits = jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch)
    logits_BLV = logits["tokens"] if isinstance(logits, dict) else logits
    log_probs_BLV = np.asarray(jax.nn.log_softmax(logits_BLV.astype("float32")))
    return log_probs_BLV[(*at, ids)].sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_score_is_that_of_its_definition(name):
    model = build(MODELS[name])
    params = jax.jit(model.init)(jax.random.key(0))
    found = sentence_scorer(model, VOCABULARY, batch_size=4)(params, SENTENCES)
    for ids, score in zip(SENTENCES, found, strict=True):
        assert score == pytest.approx(by_definition(name, model, params, ids), rel=1e-4)


def uniform(logits):
    return jax.numpy.broadcast_to(jax.numpy.zeros(()), (*logits.shape, VOCABULARY.size))


@pytest.mark.parametrize("name", ["encoder_decoder", "encoder_only"])
def test_a_sentence_is_not_copied_as_often_as_it_has_tokens(name, monkeypatch):
    """By a model that finds everything as probable, so that little else takes memory."""
    sides = {"encoder_decoder": "decoder_input_tokens", "encoder_only": "encoder_input_tokens"}
    model = SimpleNamespace(config=dataclasses.replace(MODELS[name], max_length=1 << 10))
    outputs = SimpleNamespace(outputs=lambda batch: {"tokens": uniform(batch[sides[name]])})
    model.bind = lambda params: outputs
    sentences = [np.full(400, 65)] * 20
    score = sentence_scorer(model, VOCABULARY, batch_size=8)
    tracemalloc.start()
    found = score({}, sentences)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(found, -400 * np.log(VOCABULARY.size), rtol=1e-5)
    copies = 20 * 400 * sentences[0].nbytes
    assert most < copies / 4


def test_a_model_that_predicts_no_token_is_refused():
    config = EncoderOnlyConfig(
        num_layers=1, max_length=32, head="sequence_classification", num_labels=2, **SIZES
    )
    with pytest.raises(ConfigError, match="predicts no token"):
        sentence_scorer(build(config), VOCABULARY, batch_size=1)
