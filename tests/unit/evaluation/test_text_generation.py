"""What each architecture makes of an input; the encoder-decoder's part is in test_evaluator.py."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import SentencePieceVocabulary, open_vocabulary, train_vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.decoding import Contrastive, DecodingConfig, Row, Sampling, decoding_mode, greedy_continuation
from t5lite.evaluation.stepped_search import SteppedSearch
from t5lite.evaluation.stepwise_generation import StepwiseGenerator, Wanted
from t5lite.evaluation.text_generation import GenerationSizes, TextGenerator, generate_outputs
from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    LearnedPositions,
    NormalInitializer,
)
from t5lite.models.functional import build
from tests.generated_texts import generate_texts
from tests.small_tokenizers import write_bpe_with_bos, write_unigram_with_sentinels

pytestmark = pytest.mark.slow

TEXTS = ["en el principio", "", "y vio dios que la luz era buena y aparto dios la luz", "la tierra"]


USED = (
    "size", "known_ids", "prompt_prefix", "encode", "token_text", "special_id", "sentinel", "extra_ids",
    "eos_id", "bos_id", "mask_id", "cls_id", "sep_id",
)  # fmt: skip
"""What generation reads of a vocabulary, but for ``decode``."""


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary(TEXTS, path, size=24)
    return SentencePieceVocabulary(path, extra_ids=4)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    return open_vocabulary(write_bpe_with_bos(tmp_path_factory.mktemp("bpe"), TEXTS))


def make(kind, vocabulary, **changes):
    layers = ["num_encoder_layers", "num_decoder_layers"] if kind is EncoderDecoderConfig else ["num_layers"]
    fields = {
        "vocab_size": vocabulary.size,
        "embed_dim": 16,
        "mlp_dim": 16,
        "head_dim": 8,
        "num_heads": 2,
        **dict.fromkeys(layers, 1),
        "initializer": NormalInitializer(std=1.0),
        "max_length": 20,
    }
    model = build(kind(**fields | changes))
    return model, jax.jit(model.init)(jax.random.key(1))


def fitting_rows(config, vocabulary, inputs, **lengths) -> tuple[list[Row], int]:
    mode = decoding_mode(config)(config, vocabulary, **lengths)
    rows = [mode.row(given) for given in inputs]
    return rows, mode.fitted(rows)


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


def test_a_prompt_begins_as_the_tokenizer_begins_a_text(bpe):
    model, params = make(DecoderOnlyConfig, bpe)
    lengths = {"encoder_length": 6, "max_decode_length": 5}
    texts = ["la luz", "", TEXTS[2]]
    expected = [[bpe.bos_id, *bpe.encode(text)[-5:]] for text in texts]
    assert len(bpe.encode(TEXTS[2])) > 6
    for inputs, prompts in ((texts, expected), ([bpe.encode("tierra")], [bpe.encode("tierra")[-6:]])):
        found = generate_texts(model, params, bpe, inputs, batch_size=2, **lengths)
        for text, ids in zip(found, prompts, strict=True):
            alone = greedy_continuation(
                model.bind(params),
                jnp.asarray([ids], jnp.int32),
                first_B=jnp.zeros(1, jnp.int32),
                max_decode_length=5,
                eos_id=bpe.eos_id,
            )[0]
            end = [*alone.tolist(), bpe.eos_id].index(bpe.eos_id)
            assert text == bpe.decode(np.asarray(alone)[:end])
    assert fitting_rows(model.config, bpe, ["", "a"], encoder_length=9, max_decode_length=1)[1] == 2
    with pytest.raises(ConfigError, match=r"no room for a token after the 1 that a prompt .*; use 2"):
        fitting_rows(model.config, bpe, ["a"], encoder_length=1, max_decode_length=1)


def test_masks_are_filled_whatever_the_vocabulary_calls_them(bpe, tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"cls_token": "<s>", "sep_token": "</s>"}')
    bpe.write(tmp_path)
    roberta = open_vocabulary(tmp_path)
    model, params = make(EncoderOnlyConfig, roberta)
    inputs = ["la[MASK] era", "la<mask> era"]
    filled, again = generate_texts(
        model, params, roberta, inputs, encoder_length=20, max_decode_length=1, batch_size=2
    )
    ids = [1, *roberta.encode("la"), roberta.mask_id, *roberta.encode(" era"), 2]
    logits = model.bind(params)({"encoder_input_tokens": jnp.asarray([ids], jnp.int32)})["tokens"][0]
    ids[ids.index(roberta.mask_id)] = int(jnp.argmax(logits[ids.index(roberta.mask_id)]))
    assert filled == again == roberta.decode(ids)
    assert "MASK" not in filled


def test_padding_that_looks_like_sep_is_not_part_of_the_text(tmp_path):
    write_unigram_with_sentinels(tmp_path, sentinels=4)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"sep_token": "<pad>", "pad_token": "<unk>", "eos_token": None})
    )
    vocabulary = open_vocabulary(tmp_path)
    assert vocabulary.sep_id == 0
    model, params = make(EncoderOnlyConfig, vocabulary)
    texts = generate_texts(
        model, params, vocabulary, ["a", "a<pad>ab"], encoder_length=12, max_decode_length=1, batch_size=3
    )
    kept = [vocabulary.encode(text, parse_sentinels=True) for text in ("a", "a<pad>ab")]
    assert 0 in kept[1]
    assert texts == [vocabulary.decode(ids) for ids in kept]


def test_masks_are_filled_and_nothing_else_is_touched(vocabulary):
    model, params = make(EncoderOnlyConfig, vocabulary)
    special = special_tokens(vocabulary)
    text = "la [MASK] era [MASK]"
    lengths = {"encoder_length": 20, "max_decode_length": 1}
    found, empty, plain = generate_texts(
        model, params, vocabulary, [text, "", "la tierra"], batch_size=2, **lengths
    )
    assert (empty, plain) == ("", "la tierra")
    first, second = vocabulary.encode("la "), vocabulary.encode(" era ")
    ids = np.concatenate([[special.cls], first, [special.mask], second, [special.mask], [special.sep]])
    logits = model.bind(params)({"encoder_input_tokens": jnp.asarray(ids[None], jnp.int32)})["tokens"][0]
    expected = np.where(ids == special.mask, np.argmax(logits, axis=-1), ids)[1:-1]
    assert found == vocabulary.decode(expected)


def test_a_program_serves_many_lengths_and_outputs_keep_their_order(vocabulary):
    model, params = make(EncoderOnlyConfig, vocabulary, max_length=32)
    sizes = GenerationSizes(encoder_length=32, max_decode_length=1, batch_size=2)
    generator = TextGenerator(model, vocabulary, sizes)
    texts = ["a" * (7 * number % 27 + 1) for number in range(27)]
    assert [output.text for output in generator(params, texts)] == texts
    assert generator._decode._cache_size() == 3  # 16, 24 and 32 tokens


@pytest.mark.parametrize("kind", [EncoderDecoderConfig, DecoderOnlyConfig])
def test_a_program_answers_and_continues_inputs_of_many_lengths(kind, vocabulary):
    model, params = make(kind, vocabulary)
    sizes = GenerationSizes(encoder_length=16, max_decode_length=4, batch_size=2)
    generator = TextGenerator(model, vocabulary, sizes)
    texts = [TEXTS[2][:length] for length in range(0, 32, 2)]
    assert len({len(generator.row(text).ids) for text in texts}) > 6
    written = [output.text for output in generator(params, texts)]
    assert [output.text for output in generator(params, texts[::-1])] == written[::-1]
    assert len(set(written)) > 3
    assert generator._decode._cache_size() == 1


def test_the_prompts_of_pairs_end_with_eos_within_their_length(vocabulary):
    config = make(DecoderOnlyConfig, vocabulary)[0].config
    pairs = [Prompt(vocabulary.encode(text), ends=True) for text in ("la luz", TEXTS[2])]
    (short, long), _ = fitting_rows(config, vocabulary, pairs, encoder_length=6, max_decode_length=1)
    assert short.ids.tolist() == [*vocabulary.encode("la luz")[:5], 1]
    assert long.cut
    assert long.ids.tolist() == [*vocabulary.encode(TEXTS[2])[:5], 1]
    assert not long.keeps_end


def test_lengths_are_those_that_are_needed_and_fit_the_position_table(vocabulary):
    given = {"vocabulary": vocabulary, "inputs": TEXTS, "encoder_length": 10}
    gpt, _ = make(DecoderOnlyConfig, vocabulary, positions=LearnedPositions())
    assert fitting_rows(gpt.config, **given, max_decode_length=11)[1] == 10
    with pytest.raises(ConfigError, match=r"text of 12 need 21 positions .* 20;.* are 21 together"):
        fitting_rows(gpt.config, **given, max_decode_length=12)
    ahead = DecodingConfig(strategy=Contrastive())
    with pytest.raises(ConfigError, match=r"text of 11 need 21 positions .* 20;.* are 20 together"):
        fitting_rows(gpt.config, **given, max_decode_length=11, decoding=ahead)
    assert fitting_rows(gpt.config, **given, max_decode_length=10, decoding=ahead)[1] == 10
    rotary, _ = make(DecoderOnlyConfig, vocabulary)
    longest = len(vocabulary.encode(TEXTS[2]))
    rows, length = fitting_rows(rotary.config, vocabulary, TEXTS, encoder_length=512, max_decode_length=99)
    assert length == longest
    assert not any(row.cut for row in rows)


def test_masks_need_room_for_what_frames_them(vocabulary):
    model, _ = make(EncoderOnlyConfig, vocabulary)
    with pytest.raises(ConfigError, match=r"encoder_length=2 has no room for a token between \[CLS\]"):
        fitting_rows(model.config, vocabulary, TEXTS, encoder_length=2, max_decode_length=9)
    # What is found must serve, whatever the inputs.
    assert fitting_rows(model.config, vocabulary, [""], encoder_length=9, max_decode_length=9)[1] == 3


@pytest.mark.parametrize(
    ("head", "instead"),
    [("token_classification", "evaluate --predictions FILE.jsonl writes what"), ("pooled", "embed writes")],
)
def test_a_head_that_writes_no_text_says_what_does(head, instead, vocabulary):
    config = EncoderOnlyConfig(
        vocab_size=vocabulary.size, embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_layers=1, head=head
    )
    with pytest.raises(
        ConfigError, match=f"writes no text: t5lite {instead}.*; one with head='masked_lm' or"
    ):
        fitting_rows(config, vocabulary, TEXTS, encoder_length=9, max_decode_length=9)


@pytest.mark.parametrize("kind", [DecoderOnlyConfig, EncoderOnlyConfig])
def test_rows_beyond_the_vocabulary_are_never_chosen(kind, vocabulary):
    """T5's table has 32,128 rows for 32,100 ids; here ten times as many as there are ids."""
    model, params = make(kind, vocabulary, vocab_size=10 * vocabulary.size)
    chosen = []
    spy = SimpleNamespace(**{name: getattr(vocabulary, name) for name in USED})
    spy.decode = lambda ids: chosen.append(np.asarray(ids)) or ""
    lengths = {"encoder_length": 12, "max_decode_length": 6}
    generate_texts(model, params, spy, ["la [MASK] era [MASK]"] * 2, batch_size=2, **lengths)
    assert chosen
    assert all(len(ids) and ids.max() < vocabulary.size for ids in chosen)


def test_rows_beyond_the_vocabulary_have_no_probability_in_any_way_of_writing(vocabulary):
    model, params = make(DecoderOnlyConfig, vocabulary, vocab_size=10 * vocabulary.size)
    sizes = GenerationSizes(encoder_length=12, max_decode_length=6, batch_size=1)
    decoding = DecodingConfig(log_probs=True)
    (whole,) = generate_outputs(model, params, vocabulary, ["la"], sizes, decoding=decoding)
    row = decoding_mode(model.config)(model.config, vocabulary, encoder_length=12, max_decode_length=6).row(
        "la"
    )
    writing = StepwiseGenerator(model, vocabulary).write(params, [Wanted(row=row, max_tokens=6)])
    pieces = []
    while writing.unfinished:
        pieces += writing.step()
    assert "".join(piece.text for piece in pieces) == whole.text
    assert sum(piece.log_prob for piece in pieces) == pytest.approx(whole.log_prob, rel=1e-5)
    # Of all tokens the probabilities are 1 together; of ten times as many rows they would be a part of it.
    logits_V = model.bind(params)({"decoder_input_tokens": jnp.asarray(row.ids[None])})[0, -1]
    log_probs_V = jax.nn.log_softmax(logits_V[: vocabulary.size])
    assert pieces[0].log_prob == pytest.approx(float(log_probs_V.max()), rel=1e-5)


def test_what_has_no_positions_together_is_written_apart(vocabulary):
    """Long inputs with short texts and short inputs with long ones: a learned table has no room for both."""
    rotary, _ = make(DecoderOnlyConfig, vocabulary)
    learned = build(dataclasses.replace(rotary.config, positions=LearnedPositions()))
    generator, ids = StepwiseGenerator(learned, vocabulary), vocabulary.encode(TEXTS[2])
    sizes = [(17, 4), (2, 14), (16, 2), (1, 20), (3, 14), (3, 1)]
    wanted = [Wanted(row=Row(ids[:length], length), max_tokens=most) for length, most in sizes]
    assert list(generator.batches(wanted, 4)) == [[5, 2, 0], [1, 4], [3]]
    assert list(StepwiseGenerator(rotary, vocabulary).batches(wanted, 4)) == [[5, 2, 0, 1], [4, 3]]
    message = "max_tokens=14 is more than the 4 that the model has positions for after 17 tokens"
    with pytest.raises(ConfigError, match=message):
        generator.write({}, wanted[:2])


def test_prompts_are_read_in_chunks_where_the_model_can(vocabulary):
    lengths = {"encoder_length": 12, "max_decode_length": 5}
    chunks = DecodingConfig(prefill_chunk_size=3)
    model, params = make(DecoderOnlyConfig, vocabulary)
    sizes = GenerationSizes(batch_size=3, **lengths)
    whole, in_chunks = (
        [text for text, *_ in generate_outputs(model, params, vocabulary, TEXTS, sizes, decoding=decoding)]
        for decoding in (DecodingConfig(), chunks)
    )
    assert in_chunks == whole
    prefix = dataclasses.replace(model.config, prefix_attention="bidirectional")
    shape = {"vocab_size": vocabulary.size, "embed_dim": 8, "mlp_dim": 8, "head_dim": 4, "num_heads": 2}
    t5 = EncoderDecoderConfig(**shape, num_encoder_layers=1, num_decoder_layers=1)
    for config, message in ((prefix, "causal prompts"), (t5, "models of a decoder alone")):
        with pytest.raises(ConfigError, match=f"prefill_chunk_size=3 is for {message}; .* leave it out"):
            decoding_mode(config)(config, vocabulary, decoding=chunks, **lengths)
    with pytest.raises(ConfigError, match="prefill_chunk_size=0 must be 1 or more"):
        DecodingConfig(prefill_chunk_size=0)


def test_any_of_several_ids_ends_an_output_and_what_is_not_ended_is_cut(vocabulary):
    model, params = make(DecoderOnlyConfig, vocabulary)
    sizes = GenerationSizes(encoder_length=4, max_decode_length=5, batch_size=2)
    first = jnp.argmax(model.bind(params)({"decoder_input_tokens": jnp.asarray([[1]])})[0, -1])
    (whole,) = generate_outputs(model, params, vocabulary, [""], sizes, eos_ids=(int(first),))
    assert whole[:3] == ("", False, False)
    (cut,) = generate_outputs(model, params, vocabulary, [TEXTS[2]], sizes)
    assert cut.input_cut
    assert cut.output_cut


def test_rows_with_a_stop_string_are_not_written_on(vocabulary):
    """The batch ends with the last row that has none."""
    model, params = make(DecoderOnlyConfig, vocabulary, max_length=80)
    lengths = {"encoder_length": 12, "max_decode_length": 64}
    mode = decoding_mode(model.config)(model.config, vocabulary, **lengths)
    arrays = (*mode.arrays([mode.row("la").ids] * 3, 4), np.arange(3, dtype=np.int32))
    looks: list[np.ndarray] = []

    def look(tokens_RL):
        looks.append(tokens_RL)
        return np.arange(3) < len(looks)

    written = SteppedSearch(model, mode, every=4, partitioner=None)(params, arrays, look)
    assert [tokens_RL.shape[1] for tokens_RL in looks] == [1, 5, 9]
    tokens_RL = np.asarray(written.tokens_RL)
    assert [np.count_nonzero(row) for row in tokens_RL] == [1, 5, 9]
    whole_RL = mode.run(model.bind(params), *map(jnp.asarray, arrays)).tokens_RL
    np.testing.assert_array_equal(tokens_RL[2, :9], whole_RL[2, :9])


def test_rows_that_have_ended_are_not_looked_at_again(vocabulary):
    model, _ = make(DecoderOnlyConfig, vocabulary)
    decoded = []
    spy = SimpleNamespace(**{name: getattr(vocabulary, name) for name in (*USED, "num_open")})
    spy.decode = lambda ids: decoded.append(len(ids)) or vocabulary.decode(ids)
    sizes = GenerationSizes(encoder_length=12, max_decode_length=64, batch_size=3)
    look = TextGenerator(model, spy, sizes, decoding=DecodingConfig(stop_strings=("luz",)))._look(2)
    stopped, going_on = (vocabulary.encode(text)[:8] for text in ("la luz era buena", "la tierra la tierra"))
    tokens_RL = np.stack([stopped, going_on, going_on])
    ended = [look(tokens_RL)]
    assert len(decoded) > 2
    decoded.clear()
    ended.append(look(np.concatenate([tokens_RL, tokens_RL], axis=1)))
    assert decoded == [16]
    ended.append(look(np.stack([going_on, np.r_[going_on[:-1], vocabulary.eos_id], going_on])))
    assert [each.tolist() for each in ended] == [[True, False, True], [True, False, True], [True] * 3]


def test_texts_end_before_stop_strings_and_come_several_whatever_the_batch(vocabulary):
    model, params = make(DecoderOnlyConfig, vocabulary)

    def outputs(batch_size, **options):
        sizes = GenerationSizes(encoder_length=12, max_decode_length=8, batch_size=batch_size)
        decoding = DecodingConfig(log_probs=True, **options)
        return list(generate_outputs(model, params, vocabulary, TEXTS, sizes, decoding=decoding))

    strategy = Sampling(num_return_sequences=3, seed=5)
    whole = outputs(3, strategy=strategy)
    texts = [[each.text for each in (output, *output.others)] for output in whole]
    assert all(len(each) == 3 for each in texts)
    assert len({text for each in texts for text in each}) > 5
    alone = outputs(1, strategy=strategy)
    assert [[each.text for each in (output, *output.others)] for output in alone] == texts
    np.testing.assert_allclose(
        [each.log_prob for each in alone], [each.log_prob for each in whole], rtol=1e-4
    )
    pieces: list[str] = []
    sizes = GenerationSizes(encoder_length=12, max_decode_length=8, batch_size=1)
    decoding = DecodingConfig(strategy=Sampling(seed=5), log_probs=True)
    lone = generate_outputs(
        model, params, vocabulary, TEXTS[:1], sizes, decoding=decoding, show=pieces.append
    )
    assert next(lone).text == texts[0][0]
    assert len([piece for piece in pieces if piece]) > 1
    assert texts[0][0].startswith("".join(pieces))
    longest = max((text for each in texts for text in each), key=len)
    stop = longest[2:5]  # of several tokens, or of a part of one
    for output, stopped in zip(whole, outputs(3, strategy=strategy, stop_strings=(stop, "!?")), strict=True):
        for before, after in zip((output, *output.others), (stopped, *stopped.others), strict=True):
            assert after.text == before.text.partition(stop)[0]
            if stop in before.text:
                assert not after.output_cut
                assert before.log_prob <= after.log_prob < 0
            else:
                assert after == before._replace(others=after.others)
