"""The objectives of decoder-only and encoder-only models, and the stream with separators they read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.indexed_random import derive_key
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.pipeline import open_pipeline
from t5lite.data.stores.document_stream import DocumentStream
from t5lite.data.stores.token_store import PAGE_ITEMS, TokenStore
from t5lite.data.vocabulary import SentencePieceVocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens

KEY = derive_key(0, "noise")
LAYOUT = MaskedLM().layout(62, "encoder_only")


@pytest.fixture(scope="module")
def store(text_store):
    return TokenStore.open(text_store)


@pytest.fixture(scope="module")
def separated(store):
    """The whole stream, made the plain way."""
    documents = [[*store.document(i).tolist(), 1] for i in range(store.num_documents)]
    return np.concatenate(documents)


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 10**6), length=st.integers(1, 300))
def test_any_chunk_of_the_stream_with_separators(store, separated, start, length):
    stream = DocumentStream(store, (1,))
    assert stream.num_tokens == len(separated)
    start = start % (len(separated) - length)
    np.testing.assert_array_equal(
        stream.chunks(np.array([start]), length)[0], separated[start : start + length]
    )


class CountingStore:
    """As many documents of three tokens as it takes; counts the reads of their ends."""

    def __init__(self, num_documents):
        self.num_documents, self.num_tokens = num_documents, 3 * num_documents
        self.num_reads = self.num_ends = 0

    def document_ends(self, start, stop):
        assert 0 <= start < stop <= self.num_documents
        self.num_reads += 1
        self.num_ends += stop - start
        return 3 * np.arange(start + 1, stop + 1)

    def document_end_ranges(self, starts, stops):
        return [self.document_ends(start, stop) for start, stop in zip(starts, stops, strict=True)]

    def ranges(self, starts, stops):
        return [np.arange(start, stop) % 3 + 5 for start, stop in zip(starts, stops, strict=True)]


@pytest.mark.parametrize("num_documents", [PAGE_ITEMS, 3 * PAGE_ITEMS + 1, 50_000_000, 400_000_000])
def test_a_chunk_soon_costs_one_read_of_document_ends(num_documents):
    store = CountingStore(num_documents)
    stream = DocumentStream(store, (1,))
    pattern = np.tile([5, 6, 7, 1], 200)
    edges = 4 * PAGE_ITEMS * np.arange(4)[:, None] + np.arange(-3, 3)
    starts = np.random.default_rng(0).integers(0, stream.num_tokens - 513, 300)
    starts = np.append([start for start in edges.ravel() if 0 <= start < stream.num_tokens - 513], starts)
    starts = np.append(starts, stream.num_tokens - 513)
    for start in starts:
        found = stream.chunks(np.array([start]), 513)[0]
        np.testing.assert_array_equal(found, pattern[start % 4 : start % 4 + 513])
    assert stream._last_places.nbytes <= 1 << 20
    # Every end of a block is asked for once at most; after that there is one read a chunk.
    again = store.num_reads, store.num_ends
    stream.chunks(starts, 513)
    assert store.num_reads - again[0] == len(starts)
    assert (store.num_ends - again[1]) / len(starts) <= 2 * PAGE_ITEMS + 513
    assert again[0] <= len(starts) + len(stream._last_places)


def test_a_stream_without_separator_is_the_store(store):
    stream = DocumentStream(store, ())
    assert stream.num_tokens == store.num_tokens
    np.testing.assert_array_equal(stream.chunks(np.array([7]), 50), store.chunks(np.array([7]), 50))


def test_every_token_but_the_first_is_a_causal_target_once(text_store, separated):
    pipeline = open_pipeline(
        PretrainingDataConfig(store=str(text_store), inputs_length=20, objective=CausalLM()), shuffle=False
    )
    assert (pipeline.encoder_length, pipeline.decoder_length) == (0, 20)
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    used = pipeline.num_examples * 20
    assert len(separated) - 1 - 20 < used < len(separated)
    np.testing.assert_array_equal(batch["decoder_target_tokens"].ravel(), separated[1 : used + 1])
    np.testing.assert_array_equal(batch["decoder_input_tokens"].ravel(), separated[:used])
    assert (batch["decoder_loss_weights"] == 1).all()
    assert set(batch) == {"decoder_input_tokens", "decoder_target_tokens", "decoder_loss_weights"}


def test_masked_rows_hide_the_right_share_and_can_be_rebuilt(text_store, separated, vocabulary):
    special = special_tokens(vocabulary)
    pipeline = open_pipeline(
        PretrainingDataConfig(store=str(text_store), inputs_length=50, objective=MaskedLM()), shuffle=False
    )
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    inputs, targets, weights = (
        batch[f"encoder_{name}"] for name in ("input_tokens", "target_tokens", "loss_weights")
    )
    np.testing.assert_array_equal(targets[:, 1:-1].ravel(), separated[: targets[:, 1:-1].size])
    assert (inputs[:, 0] == special.cls).all()
    assert (inputs[:, -1] == special.sep).all()
    asked = weights == 1
    np.testing.assert_array_equal(inputs[~asked], targets[~asked])
    assert not (asked & (targets == special.sep)).any()
    candidates = (targets[:, 1:-1] != special.sep).sum(axis=1)
    np.testing.assert_array_equal(asked.sum(axis=1), np.maximum(np.round(0.15 * candidates), 1))
    kept = (inputs == targets) & asked
    masked = (inputs == special.mask) & asked
    np.testing.assert_allclose(masked.sum() / asked.sum(), 0.8, atol=0.06)
    np.testing.assert_allclose(kept.sum() / asked.sum(), 0.1, atol=0.05)
    assert inputs[asked & ~masked].max() < vocabulary.sentinel_ids.min()


def test_what_becomes_of_masked_tokens_over_many_rows(vocabulary):
    tokens = np.full((3000, 40), 7)
    tokens[:, ::2] = 1
    fields = MaskedLM(mask_probability=0.5).fields(
        tokens, key=KEY, indices=np.arange(3000), vocabulary=vocabulary, layout=LAYOUT
    )
    asked = fields["encoder_loss_weights"][:, 1:-1] == 1
    assert (asked.sum(axis=1) == 10).all()
    np.testing.assert_allclose(asked[:, 1::2].mean(axis=0), 0.5, atol=0.05)
    found = fields["encoder_input_tokens"][:, 1:-1][asked]
    np.testing.assert_allclose((found == vocabulary.sentinel(99)).mean(), 0.8, atol=0.01)
    others = found[found != vocabulary.sentinel(99)]
    assert len(np.unique(others)) > 0.9 * vocabulary.sentinel_ids.min()


def test_noise_depends_on_key_and_index_only(vocabulary):
    tokens = np.random.default_rng(0).integers(3, 100, (8, 60))

    def inputs(rows, key=KEY):
        fields = MaskedLM().fields(
            tokens[rows], key=key, indices=np.arange(8)[rows], vocabulary=vocabulary, layout=LAYOUT
        )
        return fields["encoder_input_tokens"]

    np.testing.assert_array_equal(inputs(slice(3, 5)), inputs(slice(0, 8))[3:5])
    assert (inputs(slice(0, 8)) != inputs(slice(0, 8), derive_key(1, "noise"))).any(axis=1).all()


def test_the_last_batch_of_an_evaluation_is_filled_without_weight(text_store):
    pipeline = open_pipeline(
        PretrainingDataConfig(store=str(text_store), inputs_length=50, objective=MaskedLM())
    )
    *_, last = pipeline.eval_batches(pipeline.num_examples - 1)
    assert last["encoder_loss_weights"][0].any()
    assert not last["encoder_loss_weights"][1:].any()


def test_a_vocabulary_that_cannot_mask_is_refused(vocabulary):
    poor = SentencePieceVocabulary(vocabulary.path, extra_ids=1)
    with pytest.raises(ConfigError, match=r"has no \[MASK\].*extra_ids=1"):
        MaskedLM().check_vocabulary(poor, 32, "encoder_only")


@pytest.mark.parametrize(
    ("objective", "values"),
    [
        (MaskedLM, {"mask_probability": 0.0}),
        (MaskedLM, {"mask_share": 0.95}),
        (MaskedLM, {"random_share": -0.1}),
    ],
)
def test_settings_out_of_range(objective, values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        objective(**values)


@pytest.mark.parametrize(("objective", "length"), [(MaskedLM(), 2), (CausalLM(), 0)])
def test_lengths_that_cannot_be_filled(objective, length):
    with pytest.raises(ConfigError, match=f"inputs_length={length} must be at least"):
        objective.layout(length, objective.architectures[0])
