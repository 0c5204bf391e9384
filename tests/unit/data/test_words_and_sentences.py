"""BERT's whole word masking and next sentence pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.batch_fields import NO_LABEL
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.indexed_random import derive_key, random_bits
from t5lite.data.objectives.masked_lm import MaskedLM, choose, choose_words, num_chosen
from t5lite.data.objectives.next_sentence import NEXT, RANDOM, pair_sentences
from t5lite.data.pipeline import open_pipeline
from t5lite.data.prepare import write_text_store
from t5lite.data.stores.document_stream import DocumentStream
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.data.vocabulary.tokenizer_json import TokenizerJsonVocabulary
from tests.small_tokenizers import write_bpe, write_wordpiece

KEY = derive_key(0, "noise")
LENGTH = 43


def test_words_of_a_sentencepiece_vocabulary(vocabulary):
    ids = vocabulary.encode("moba. keli bara")
    # What no token goes on with is the beginning of a word.
    words = np.split(ids, np.flatnonzero(~vocabulary.word_continuations[ids])[1:])
    assert [vocabulary.decode(word) for word in words] == ["moba", ".", "keli", "bara"]
    assert not vocabulary.word_continuations[[0, 1, 2]].any()
    assert not vocabulary.word_continuations[vocabulary.sentinel_ids.min() :].any()
    assert len(vocabulary.word_continuations) == vocabulary.size


def test_words_of_bytes():
    vocabulary = ByteVocabulary()
    ids = vocabulary.encode("to be, or né")
    words = np.split(ids, np.flatnonzero(~vocabulary.word_continuations[ids]))[1:]
    # "to" begins the text, so that nothing marks its beginning.
    assert [vocabulary.decode(word) for word in words] == [" be", ",", " or", " né"]


@pytest.mark.parametrize("write", [write_wordpiece, write_bpe])
def test_words_of_a_tokenizer_json(write, tmp_path, prose):
    vocabulary = TokenizerJsonVocabulary(write(tmp_path, prose(100, seed=0)) / "tokenizer.json")
    text = "moba zatikeli. vo"
    ids = vocabulary.encode(text)
    edges = np.flatnonzero(~vocabulary.word_continuations[ids])
    words = np.split(ids, edges[edges > 0])
    assert [vocabulary.decode(word).strip() for word in words] == ["moba", "zatikeli", ".", "vo"]
    assert len(ids) > len(words)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1 << 30),
    share=st.floats(0.05, 0.6),
    start_share=st.floats(0.1, 1.0),
    separator_share=st.floats(0.0, 0.2),
)
def test_words_are_asked_for_whole_or_not_at_all(seed, share, start_share, separator_share):
    generator = np.random.default_rng(seed)
    candidates = generator.random((5, 60)) >= separator_share
    starts = generator.random((5, 60)) < start_share
    bits = random_bits(derive_key(seed, "noise"), np.arange(5), 60)
    num_chosen_B = num_chosen(candidates, np.full(5, share))
    chosen = choose_words(bits, candidates, starts.copy(), num_chosen_B)
    assert not (chosen & ~candidates).any()
    for row in range(5):
        words, word = [], -1
        for place in range(60):
            if not candidates[row, place]:
                word = -1
                continue
            if word < 0 or starts[row, place]:
                words.append([])
                word = len(words) - 1
            words[word].append(place)
        asked = [{bool(chosen[row, place]) for place in places} for places in words]
        assert all(len(each) == 1 for each in asked)
        if not words:
            continue
        wanted = max(1, round(share * candidates[row].sum()))
        assert chosen[row].any()
        assert abs(int(chosen[row].sum()) - wanted) <= max(len(places) for places in words)


def test_the_share_of_whole_words_is_that_of_tokens():
    generator = np.random.default_rng(0)
    starts = generator.random((3000, 120)) < 0.5
    bits = random_bits(KEY, np.arange(3000), 120)
    chosen = choose_words(bits, np.ones((3000, 120), bool), starts, np.full(3000, 18))
    assert chosen.mean() == pytest.approx(0.15, abs=0.003)
    np.testing.assert_allclose(chosen.mean(axis=0), 0.15, atol=0.035)


def test_words_of_one_token_are_masked_as_tokens():
    bits = random_bits(KEY, np.arange(20), 50)
    candidates = np.random.default_rng(0).random((20, 50)) < 0.9
    num_chosen_B = num_chosen(candidates, np.full(20, 0.15))
    np.testing.assert_array_equal(
        choose_words(bits, candidates, np.ones((20, 50), bool), num_chosen_B),
        choose(bits, candidates, num_chosen_B),
    )


def test_whole_words_through_the_pipeline(text_store, vocabulary):
    config = PretrainingDataConfig(
        store=str(text_store), inputs_length=LENGTH, objective=MaskedLM(whole_words=True)
    )
    batch = open_pipeline(config, architecture="encoder_only").batch(0, batch_size=16)
    targets, asked = batch["encoder_target_tokens"], batch["encoder_loss_weights"] == 1
    goes_on = vocabulary.word_continuations[targets[:, 2:-1]] & (targets[:, 1:-2] != 1)
    np.testing.assert_array_equal((asked[:, 2:-1] == asked[:, 1:-2])[goes_on], True)
    assert 0.08 < asked[:, 1:-1].mean() < 0.22


@pytest.fixture(scope="module")
def sentences(text_store):
    config = PretrainingDataConfig(
        store=str(text_store), inputs_length=LENGTH, objective=MaskedLM(next_sentence=True)
    )
    return open_pipeline(config, architecture="encoder_only", seed=1)


@pytest.fixture(scope="module")
def epoch(sentences):
    return sentences.batch(0, batch_size=sentences.num_examples)


def test_pairs_are_framed_with_types_and_labels(epoch, vocabulary):
    special = special_tokens(vocabulary)
    types, targets = epoch["encoder_token_types"], epoch["encoder_target_tokens"]
    assert types.shape == targets.shape == epoch["encoder_input_tokens"].shape
    assert epoch["sequence_labels"].shape == (len(targets),)
    assert epoch["sequence_labels"].dtype == np.int32
    first_of_b = types.argmax(axis=1)
    rows = np.arange(len(types))
    np.testing.assert_array_equal(types, np.arange(LENGTH)[None, :] >= first_of_b[:, None])
    for tokens in (targets, epoch["encoder_input_tokens"]):
        assert (tokens[:, 0] == special.cls).all()
        assert (tokens[:, -1] == special.sep).all()
        assert (tokens[rows, first_of_b - 1] == special.sep).all()
    weights = epoch["encoder_loss_weights"]
    assert not weights[targets == special.sep].any()
    assert not weights[:, 0].any()
    candidates = (targets[:, 1:] != special.sep).sum(axis=1)
    np.testing.assert_array_equal(weights.sum(axis=1), np.maximum(np.round(0.15 * candidates), 1))


def test_half_of_the_pairs_are_random(epoch):
    labels = epoch["sequence_labels"]
    labelled = labels[labels != NO_LABEL]
    assert len(labelled) > 0.8 * len(labels)
    assert labelled.mean() == pytest.approx(0.5, abs=0.15)


def read_pairs(store, *, epoch, num_tokens=30, key=KEY):
    stream = DocumentStream(store, (1,))
    count = stream.num_tokens // num_tokens
    indices = np.arange(count)
    pairs = pair_sentences(
        indices,
        np.full(count, epoch),
        num_examples=count,
        key=key,
        separator=1,
        read=lambda numbers: stream.chunks(numbers * num_tokens, num_tokens),
        documents_at=lambda numbers, places: stream.documents_at(numbers * num_tokens + places),
    )
    return stream.chunks(indices * num_tokens, num_tokens), pairs


def test_random_sentences_are_from_another_document_and_no_token_is_lost(text_store):
    store = TokenStore.open(text_store)
    labels = []
    for epoch in range(30):
        chunks, pairs = read_pairs(store, epoch=epoch)
        np.testing.assert_array_equal(np.sort(pairs.tokens_BN.ravel()), np.sort(chunks.ravel()))
        is_first = np.arange(30)[None, :] < pairs.splits_B[:, None]
        np.testing.assert_array_equal(pairs.tokens_BN[is_first], chunks[is_first])
        same = (pairs.tokens_BN == chunks).all(axis=1)
        assert same[pairs.labels_B != RANDOM].all()
        assert not same[pairs.labels_B == RANDOM].all()
        labelled = pairs.labels_B != NO_LABEL
        rows = np.flatnonzero(labelled)
        # Where B begins, neither text has a document's edge.
        assert (chunks[rows, pairs.splits_B[rows] - 1] != 1).all()
        assert (pairs.tokens_BN[rows, pairs.splits_B[rows]] != 1).all()
        labels.append(pairs.labels_B)
    share = np.concatenate(labels)
    assert (share == RANDOM).sum() / (share != NO_LABEL).sum() == pytest.approx(0.5, abs=0.03)
    assert any((labels[0] != other).any() for other in labels[1:])


def test_pairs_are_a_function_of_key_chunk_and_epoch(sentences, epoch):
    again = sentences.batch(0, batch_size=sentences.num_examples, rows=slice(3, 6))
    for name, rows in again.items():
        np.testing.assert_array_equal(rows, epoch[name][3:6])


@settings(deadline=None, max_examples=40)
@given(place=st.integers(0, 10**6))
def test_the_document_of_a_place(text_store, place):
    store = TokenStore.open(text_store)
    stream = DocumentStream(store, (1,))
    place %= stream.num_tokens
    ends = np.cumsum(store.document_lengths + 1)
    assert stream.documents_at(np.array([place]))[0] == np.searchsorted(ends, place, side="right")


def test_documents_of_a_token_or_two_have_no_place_for_a_split(tmp_path, vocabulary):
    with TokenStoreWriter(tmp_path / "short", vocabulary=vocabulary) as writer:
        writer.add_batch([np.array([5])] * 300)
    _, pairs = read_pairs(TokenStore.open(tmp_path / "short"), epoch=0)
    assert (pairs.labels_B == NO_LABEL).all()


def test_a_single_document_has_no_other_to_take_sentences_from(tmp_path, vocabulary, prose):
    write_text_store([" ".join(prose(40, seed=5))], vocabulary, tmp_path / "one")
    config = PretrainingDataConfig(
        store=str(tmp_path / "one"), inputs_length=LENGTH, objective=MaskedLM(next_sentence=True)
    )
    with pytest.raises(DataError, match="is a single document"):
        open_pipeline(config, architecture="encoder_only")


def test_the_head_follows_from_the_option():
    MaskedLM().check_head("masked_lm")
    MaskedLM(next_sentence=True).check_head("pretraining")
    with pytest.raises(ConfigError, match=r"use head='masked_lm', or set .*next_sentence=True"):
        MaskedLM().check_head("pretraining")
    with pytest.raises(ConfigError, match=r"no labels for model.head='hidden'; use head='pretraining'$"):
        MaskedLM(next_sentence=True).check_head("hidden")
    with pytest.raises(ConfigError, match="must be at least 5"):
        MaskedLM(next_sentence=True).layout(4, "encoder_only")
    assert MaskedLM(next_sentence=True).layout(5, "encoder_only").tokens == 2
    assert (NEXT, RANDOM) == (0, 1)
