"""A word's place among tokens, and its rank and log-probability by their definition."""

import jax
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.evaluation.masked_words import WordInText, gap_model, word_in_text
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, NormalInitializer
from t5lite.models.functional import build

VOCABULARY = ByteVocabulary(extra_ids=5)
SIZES = {"vocab_size": VOCABULARY.size + 3, "embed_dim": 16, "mlp_dim": 16, "head_dim": 8, "num_heads": 2}
SIZES |= {"initializer": NormalInitializer(std=0.5)}
MODELS = {
    "encoder_decoder": EncoderDecoderConfig(num_encoder_layers=1, num_decoder_layers=1, **SIZES),
    "encoder_only": EncoderOnlyConfig(num_layers=1, max_length=32, **SIZES),
}


class Pieces:
    """Cuts a text into the pieces that it is told, each of which begins where it is told."""

    def __init__(self, *starts: int):
        self.starts = np.array(starts)

    def encode_with_offsets(self, text: str):
        return np.arange(len(self.starts)), self.starts


@pytest.mark.parametrize(
    ("starts", "place"),
    [
        ((0, 4, 8), (1, 2)),  # "one ", "two ", "six"
        ((0, 3, 7), (1, 2)),  # "one", " two", " six": a space is nobody's
        ((0, 3, 4, 7), (2, 3)),  # nor is a token that is nothing else
        ((0, 3, 5, 7), (1, 3)),  # of two pieces
        ((0, 4, 4, 7), (1, 3)),  # of one character that is two
        ((0, 2, 8), None),  # "e two "
        ((0, 4, 6), None),  # "o six"
        ((0,), None),
    ],
)
def test_tokens_of_a_word_are_those_that_hold_nothing_else(starts, place):
    found = word_in_text(Pieces(*starts), "one ", "two", " six")
    assert (found and found[1:]) == place


def by_definition(name: str, model, params, given: WordInText) -> np.ndarray:
    """Return the log-probabilities of all tokens at each place of the word."""
    special, sentinel, word = special_tokens(VOCABULARY), VOCABULARY.sentinel(0), given.word.tolist()
    before, after = given.ids[: given.start], given.ids[given.stop :]
    if name == "encoder_only":
        rows = [
            [special.cls, *before, *word[:known], *[special.mask] * (len(word) - known), *after, special.sep]
            for known in range(len(word))
        ]
        batch = {"encoder_input_tokens": np.array(rows)}
        at = (np.arange(len(word)), 1 + given.start + np.arange(len(word)))
    else:
        read = [*before, sentinel, *after, VOCABULARY.eos_id]
        batch = {"encoder_input_tokens": np.array([read])}
        batch["decoder_input_tokens"] = np.array([[0, sentinel, *word[:-1]]])
        at = (0, 1 + np.arange(len(word)))
    logits = jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch)
    logits_BLV = logits["tokens"] if isinstance(logits, dict) else logits
    return np.asarray(jax.nn.log_softmax(logits_BLV.astype("float32")[..., : VOCABULARY.size]))[at]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_ranks_and_log_probabilities_are_those_of_their_definition(name):
    model = build(MODELS[name])
    params = jax.jit(model.init)(jax.random.key(0))
    words = [word_in_text(VOCABULARY, *texts) for texts in (("a ", "Sí", "!"), ("to be ", "o", " not"))]
    asker = gap_model(model, VOCABULARY, batch_size=3)
    gaps = [asker.gaps(word) for word in words]
    guesses = iter(asker.guesses(params, [gap for some in gaps for gap in some]))
    for word in words:
        for token, log_probs_V in zip(word.word, by_definition(name, model, params, word), strict=True):
            guess = next(guesses)
            assert guess.log_prob == pytest.approx(log_probs_V[token], rel=1e-4)
            assert guess.rank == np.sum(log_probs_V >= log_probs_V[token])
            assert guess.best[0] == log_probs_V.argmax()
            assert guess.best_log_probs == pytest.approx(np.sort(log_probs_V)[::-1][:10].tolist(), rel=1e-4)


def test_what_is_no_number_is_ranked_last():
    model = build(MODELS["encoder_only"])
    params = jax.tree.map(
        lambda each: np.full(each.shape, np.nan, each.dtype), jax.eval_shape(model.init, jax.random.key(0))
    )
    asker = gap_model(model, VOCABULARY, batch_size=1)
    (guess,) = asker.guesses(params, asker.gaps(word_in_text(VOCABULARY, "a ", "b", "")))
    assert np.isnan(guess.log_prob)
    assert guess.rank == VOCABULARY.size


def test_models_that_fill_no_gap_are_refused():
    classifier = EncoderOnlyConfig(
        num_layers=1, max_length=32, head="sequence_classification", num_labels=2, **SIZES
    )
    for config, why in ((DecoderOnlyConfig(num_layers=1, **SIZES), "behind a gap"), (classifier, "no token")):
        with pytest.raises(ConfigError, match=why):
            gap_model(build(config), VOCABULARY, batch_size=1)
