import numpy as np
import pytest

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


def pairs_config(pair_store, **options):
    return PairsDataConfig(store=str(pair_store), inputs_length=40, targets_length=24, **options)


def test_lengths_are_those_of_the_documents(text_store, pair_store):
    (lengths,) = document_lengths(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    store = TokenStore.open(text_store)
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
    inputs, targets = document_lengths(pairs_config(pair_store))
    pairs = PairStore.open(pair_store)
    assert inputs.share_too_long == (pairs.inputs.document_lengths + 1 > 40).mean() > 0
    assert targets.share_too_long == (pairs.targets.document_lengths + 1 > 24).mean()
    assert inputs.num_too_long == (pairs.inputs.document_lengths + 1 > 40).sum()
    inputs, targets = document_lengths(pairs_config(pair_store), classify=True)
    assert inputs.num_too_long == (pairs.inputs.document_lengths + 2 > 40).sum()
    assert targets.num_too_long == 0


@pytest.mark.parametrize("num_documents", [1, 2, 5, 7, 8, 9, 30])
def test_all_lengths_are_looked_at_or_a_sample_that_holds_both_ends(
    tmp_path, vocabulary, monkeypatch, num_documents
):
    monkeypatch.setattr("t5lite.data.inspection._STRETCHES", 4)
    monkeypatch.setattr("t5lite.data.inspection._STRETCH", 2)
    write_text_store(["ba " * (number + 1) for number in range(num_documents)], vocabulary, tmp_path / "s")
    (lengths,) = document_lengths(PretrainingDataConfig(store=str(tmp_path / "s")))
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
