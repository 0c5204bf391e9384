"""A sentence's score is that of its definition, token by token, whatever it is batched with."""

import dataclasses
import weakref
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.evaluation import minimal_pairs
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


@pytest.mark.parametrize(
    ("name", "made", "held"),
    [("encoder_decoder", "GivenTarget", "context"), ("encoder_only", "Hidden", "ids")],
)
def test_copies_of_a_sentence_are_made_a_batch_at_a_time(name, made, held, monkeypatch):
    """By a model that finds everything as probable."""
    refs: list[weakref.ref] = []
    most_alive = 0
    make = getattr(minimal_pairs, made)

    def counted(*fields):
        nonlocal most_alive
        each = make(*fields)
        refs.append(weakref.ref(getattr(each, held)))
        most_alive = max(most_alive, sum(ref() is not None for ref in refs))
        return each

    monkeypatch.setattr(minimal_pairs, made, counted)
    model = SimpleNamespace(config=dataclasses.replace(MODELS[name], max_length=64))
    side = f"{model.config.sides[-1]}_input_tokens"
    outputs = SimpleNamespace(outputs=lambda batch: {"tokens": uniform(batch[side])})
    model.bind = lambda params: outputs
    found = sentence_scorer(model, VOCABULARY, batch_size=4)({}, [np.full(40, 65)] * 3)
    np.testing.assert_allclose(found, -40 * np.log(VOCABULARY.size), rtol=1e-5)
    assert most_alive <= 3 * 4 < 3 * 40 <= len(refs)


def test_a_model_that_predicts_no_token_is_refused():
    config = EncoderOnlyConfig(
        num_layers=1, max_length=32, head="sequence_classification", num_labels=2, **SIZES
    )
    with pytest.raises(ConfigError, match="predicts no token"):
        sentence_scorer(build(config), VOCABULARY, batch_size=1)
