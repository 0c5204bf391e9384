from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.architectures import SIDES_OF
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.inspection import decoded_examples, document_lengths, measure_rows, rows_to_show
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.pipeline import open_pipeline
from t5lite.data.prepare import write_text_store
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Frame


def pairs_config(pair_store, **options):
    return PairsDataConfig(store=str(pair_store), inputs_length=40, targets_length=24, **options)


def test_lengths_are_those_of_the_documents(text_store, pair_store):
    store = TokenStore.open(text_store)
    of_model: Any = {"architecture": "encoder_decoder", "vocabulary": store.vocabulary()}
    (lengths,) = document_lengths(PretrainingDataConfig(store=str(text_store), inputs_length=32), **of_model)
    np.testing.assert_array_equal(lengths.sample, store.document_lengths)
    assert (lengths.num_documents, lengths.num_tokens) == (store.num_documents, store.num_tokens)
    histogram = lengths.histogram()
    assert sum(share for _, _, share in histogram) == pytest.approx(1)
    for shortest, longest, share in histogram:
        inside = (lengths.sample >= shortest) & (lengths.sample <= longest)
        assert inside.mean() == pytest.approx(share)
    ordered = np.sort(store.document_lengths)
    spread = lengths.spread()
    assert list(spread) == ["shortest", "1%", "10%", "50%", "90%", "99%", "longest"]
    assert (spread["shortest"], spread["longest"]) == (ordered[0], ordered[-1])
    assert spread["90%"] == ordered[int(0.9 * (len(ordered) - 1))]
    assert lengths.unknown == store.unknown


FRAMES = st.none() | st.builds(
    Frame, st.sampled_from([(), (1,), (1, 2)]), st.sampled_from([(), (1,), (1, 2)])
)


@settings(max_examples=20, deadline=None)
@given(frame=FRAMES, architecture=st.sampled_from([*SIDES_OF]), own=st.sampled_from(["own", "eos"]))
def test_what_is_too_long_is_what_training_cuts(frame, architecture, own, pair_store):
    """Whatever stands around a text: EOS, the two of a classifier, or the vocabulary's own frame."""
    pairs, config = PairStore.open(pair_store), pairs_config(pair_store, frame=own)
    vocabulary = pairs.vocabulary()
    with patch.object(type(vocabulary), "own_frame", frame):
        inputs, targets = document_lengths(config, architecture=architecture, vocabulary=vocabulary)
        around = {"encoder_only": 2, "encoder_decoder": frame.size if frame and own == "own" else 1}
        inputs_are = pairs.inputs.document_lengths + around.get(architecture, 1) > 40
        targets_are = pairs.targets.document_lengths + 1 > 24
        assert inputs.share_too_long == inputs_are.mean() > 0
        assert inputs.num_too_long == inputs_are.sum()
        if architecture == "encoder_only":
            assert targets.num_too_long == 0
            return
        assert targets.num_too_long == targets_are.sum()
        report = open_pipeline(config, architecture=architecture).report
    assert report["truncated"] == (inputs_are | targets_are).sum()


@pytest.mark.parametrize("num_documents", [1, 2, 5, 7, 8, 9, 30])
def test_all_lengths_are_looked_at_or_a_sample_that_holds_both_ends(
    tmp_path, vocabulary, monkeypatch, num_documents
):
    monkeypatch.setattr("t5lite.data.inspection._STRETCHES", 4)
    monkeypatch.setattr("t5lite.data.inspection._STRETCH", 2)
    write_text_store(["ba " * (number + 1) for number in range(num_documents)], vocabulary, tmp_path / "s")
    of_model: Any = {"architecture": "decoder_only", "vocabulary": vocabulary}
    (lengths,) = document_lengths(PretrainingDataConfig(store=str(tmp_path / "s")), **of_model)
    whole = TokenStore.open(tmp_path / "s").document_lengths
    assert len(lengths.sample) == min(num_documents, 8)
    assert set(lengths.sample) <= set(whole)
    assert {whole[0], whole[-1]} <= set(lengths.sample)


def test_rows_are_measured(text_store, pair_store):
    stream = open_pipeline(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    rows = measure_rows(stream, batch_size=4, num_batches=3)
    assert rows.filled == {"encoder": 1.0, "decoder": 1.0}
    assert rows.trained == {"decoder": 1.0}
    assert (rows.segments, rows.shares, rows.skipped) == (1.0, {}, 0)
    packed = open_pipeline(pairs_config(pair_store, pack=True))
    rows = measure_rows(packed, batch_size=packed.num_examples, num_batches=1)
    assert rows.filled["encoder"] == pytest.approx(packed.report["inputs_density"])
    assert (
        rows.filled["decoder"] == rows.trained["decoder"] == pytest.approx(packed.report["targets_density"])
    )
    assert rows.segments == pytest.approx(packed.report["pairs"] / packed.num_examples)


def test_packed_pairs_are_shown_each_by_itself(pair_store):
    stream = open_pipeline(pairs_config(pair_store, pack=True), shuffle=False)
    pairs, vocabulary = PairStore.open(pair_store), stream.vocabulary
    known = {
        vocabulary.decode(pairs.inputs.document(i)[:39]): vocabulary.decode(pairs.targets.document(i)[:23])
        for i in range(pairs.num_pairs)
    }
    shown = [
        example
        for _, fields in rows_to_show(stream, stream.num_examples)
        for example in decoded_examples(fields, vocabulary)
    ]
    assert {example["inputs"]: example["targets"] for example in shown} == known


def test_what_is_given_and_what_is_asked_for(text_store, pair_store):
    text = {"store": str(text_store), "inputs_length": 32}
    masked = open_pipeline(PretrainingDataConfig(**text, objective=MaskedLM()))
    (example,) = decoded_examples(masked.example(0), masked.vocabulary)
    asked = (masked.example(0)["encoder_loss_weights"] > 0).sum()
    assert len(example["asked for"].split(" · ")) == asked
    causal = open_pipeline(PretrainingDataConfig(**text, objective=CausalLM()))
    (example,) = decoded_examples(causal.example(0), causal.vocabulary)
    assert set(example) == {"targets"}
    prompts = open_pipeline(pairs_config(pair_store), architecture="decoder_only")
    (example,) = decoded_examples(prompts.example(0), prompts.vocabulary)
    document = PairStore.open(pair_store).targets.document(0)[:23]
    assert example["targets"] == prompts.vocabulary.decode(document)
    assert "given" in example


def test_a_mixture_shows_rows_of_every_source(text_store, pair_store):
    text = PretrainingDataConfig(store=str(text_store), inputs_length=32)
    config = MixtureDataConfig(
        sources=(
            MixtureSource(name="text", data=text, weight=3),
            MixtureSource(name="pairs", data=pairs_config(pair_store), weight=1),
        )
    )
    assert config.named_sources == {"text": text, "pairs": pairs_config(pair_store)}
    stream = open_pipeline(config)
    rows = measure_rows(stream, batch_size=8, num_batches=4)
    assert rows.shares == {"text": 0.75, "pairs": 0.25}
    shown = rows_to_show(stream, 2)
    assert [name for name, _ in shown] == ["text", "text", "pairs", "pairs"]
    assert not (shown[0][1]["encoder_segment_ids"][32:]).any()
