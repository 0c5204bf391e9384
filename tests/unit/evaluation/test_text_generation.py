"""What each architecture makes of an input; the encoder-decoder's part is in test_evaluator.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.data.objectives.masked_lm import special_tokens
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.decoding import greedy_continuation
from t5lite.evaluation.text_generation import (
    TextGenerator,
    check_generation,
    generate_texts,
    prompts_of_pairs,
)
from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig
from t5lite.models.functional import build

TEXTS = ["en el principio", "", "y vio dios que la luz era buena y aparto dios la luz", "la tierra"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary(TEXTS, path, size=24)
    return SentencePieceVocabulary(path, extra_ids=4)


def make(kind, vocabulary, **changes):
    fields = {
        "vocab_size": vocabulary.size,
        "embed_dim": 16,
        "mlp_dim": 16,
        "head_dim": 8,
        "num_heads": 2,
        "num_layers": 1,
        "initializer_std": 1.0,
        "max_length": 20,
    }
    model = build(kind(**fields | changes))
    return model, jax.jit(model.init)(jax.random.key(1))


def test_a_continuation_is_that_of_the_prompt_alone(vocabulary):
    model, params = make(DecoderOnlyConfig, vocabulary)
    lengths = {"encoder_length": 12, "max_decode_length": 5}
    texts = generate_texts(model, params, vocabulary, TEXTS, batch_size=3, **lengths)
    assert len(texts) == len(TEXTS)
    for text, found in zip(TEXTS, texts, strict=True):
        ids = vocabulary.encode(text)[-12:] if text else [vocabulary.eos_id]  # a text begins after an EOS
        alone = greedy_continuation(
            model.bind(params),
            jnp.asarray([ids], jnp.int32),
            first_B=jnp.zeros(1, jnp.int32),
            max_decode_length=5,
            eos_id=vocabulary.eos_id,
        )
        assert found == vocabulary.decode(np.asarray(alone)[0])


def test_masks_are_filled_and_nothing_else_is_touched(vocabulary):
    model, params = make(EncoderOnlyConfig, vocabulary)
    special = special_tokens(vocabulary)
    text = "la [MASK] era [MASK]"
    generator = TextGenerator(model, vocabulary, encoder_length=20, max_decode_length=1, batch_size=2)
    (found, empty, plain) = generator(params, [text, "", "la tierra"])
    assert (empty, plain) == ("", "la tierra")
    first, second = vocabulary.encode("la "), vocabulary.encode(" era ")
    ids = np.concatenate([[special.cls], first, [special.mask], second, [special.mask], [special.sep]])
    logits = model.bind(params)({"encoder_input_tokens": jnp.asarray(ids[None], jnp.int32)})["tokens"][0]
    expected = np.where(ids == special.mask, np.argmax(logits, axis=-1), ids)[1:-1]
    assert found == vocabulary.decode(expected)


def test_the_prompts_of_pairs_end_with_eos_within_their_length(vocabulary):
    short, long = prompts_of_pairs(["la luz", TEXTS[2]], vocabulary, inputs_length=6)
    assert short.tolist() == [*vocabulary.encode("la luz")[:5], 1]
    assert long.tolist() == [*vocabulary.encode(TEXTS[2])[:5], 1]


def test_lengths_are_those_that_are_needed_and_fit_the_position_table(vocabulary):
    given = {"vocabulary": vocabulary, "inputs": TEXTS, "encoder_length": 10}
    gpt, _ = make(DecoderOnlyConfig, vocabulary, positions="learned")
    assert check_generation(gpt.config, **given, max_decode_length=11) == 10
    with pytest.raises(ConfigError, match="need 21 positions, the model has 20; use a smaller"):
        check_generation(gpt.config, **given, max_decode_length=12)
    rotary, _ = make(DecoderOnlyConfig, vocabulary)
    longest = len(vocabulary.encode(TEXTS[2]))
    assert check_generation(rotary.config, vocabulary, TEXTS, encoder_length=512, max_decode_length=99) == (
        longest
    )


def test_masks_need_room_for_what_frames_them(vocabulary):
    model, _ = make(EncoderOnlyConfig, vocabulary)
    with pytest.raises(ConfigError, match=r"encoder_length=1 has no room for \[CLS\]"):
        check_generation(model.config, vocabulary, TEXTS, encoder_length=1, max_decode_length=9)


def test_a_head_that_writes_no_text_says_what_does(vocabulary):
    model, _ = make(EncoderOnlyConfig, vocabulary, head="token_classification")
    with pytest.raises(ConfigError, match=r"writes no text; one with head='masked_lm' or"):
        check_generation(model.config, vocabulary, TEXTS, encoder_length=9, max_decode_length=9)
