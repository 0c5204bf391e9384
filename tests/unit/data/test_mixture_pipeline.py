import dataclasses
from collections import Counter

import numpy as np
import pytest

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.mixture_pipeline import MixturePipeline
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.objectives.span_corruption import SpanCorruption
from t5lite.data.pipeline import open_pipeline
from t5lite.data.prepare import write_text_store
from t5lite.data.vocabulary import SentencePieceVocabulary


@pytest.fixture(scope="module")
def config(text_store, pair_store):
    text = PretrainingDataConfig(store=str(text_store), inputs_length=32)
    noisy = dataclasses.replace(text, objective=SpanCorruption(noise_density=0.4))
    pairs = PairsDataConfig(store=str(pair_store), inputs_length=24, targets_length=24, pack=True)
    return MixtureDataConfig(
        sources=(
            MixtureSource(name="text", data=text, weight=5),
            MixtureSource(name="noisy", data=noisy, weight=2),
            MixtureSource(name="pairs", data=pairs, weight=1),
        )
    )


@pytest.fixture(scope="module")
def pipeline(config) -> MixturePipeline:
    opened = open_pipeline(config, seed=3)
    assert isinstance(opened, MixturePipeline)
    return opened


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        assert a[name].dtype == b[name].dtype


def test_rows_are_the_sources_own_brought_to_one_shape(pipeline):
    positions = np.arange(160)
    batch = pipeline.batch(0, batch_size=160)
    which, numbers = pipeline.schedule.lookup(positions)
    lengths = {"encoder": pipeline.encoder_length, "decoder": pipeline.decoder_length}
    assert {name: field.shape for name, field in batch.items()} == {
        name: (160, lengths[name.split("_")[0]]) for name in batch
    }
    assert {"encoder_segment_ids", "decoder_segment_ids"} < batch.keys()
    for place, source in enumerate(pipeline.sources.values()):
        rows = np.flatnonzero(which == place)
        own = source.rows(numbers[rows])
        for name, field in batch.items():
            length = getattr(source, f"{name.split('_')[0]}_length")
            expected = own.get(name, np.ones((len(rows), length)))  # absent segment ids: one segment
            np.testing.assert_array_equal(field[rows, :length], expected, err_msg=name)
            assert not field[rows, length:].any()
    assert Counter(which.tolist()) == {0: 100, 1: 40, 2: 20}


def test_batches_are_a_function_of_the_position(config, pipeline):
    for start in (0, 60, 10**10):
        whole = pipeline.batch(start, batch_size=12)
        assert_same(whole, open_pipeline(config, seed=3).batch(start, batch_size=12))
        parts = [pipeline.batch(start, batch_size=12, rows=slice(i, i + 3)) for i in range(0, 12, 3)]
        assert_same(whole, {name: np.concatenate([part[name] for part in parts]) for name in whole})
    other = open_pipeline(config, seed=4).batch(0, batch_size=12)
    assert (other["encoder_input_tokens"] != pipeline.batch(0, batch_size=12)["encoder_input_tokens"]).any()


def test_the_order_of_the_sources_does_not_matter(config, pipeline):
    turned = dataclasses.replace(config, sources=config.sources[::-1])
    assert_same(open_pipeline(turned, seed=3).batch(32, batch_size=16), pipeline.batch(32, batch_size=16))


def test_every_example_of_a_source_comes_once_an_epoch(pipeline):
    source = pipeline.sources["pairs"]
    last = pipeline.schedule.position_of("pairs", source.num_examples)
    positions = np.arange(last)
    which, numbers = pipeline.schedule.lookup(positions)
    numbers = numbers[which == list(pipeline.sources).index("pairs")]
    assert numbers.tolist() == list(range(source.num_examples))


@pytest.mark.slow
def test_worker_processes_do_not_change_a_mixture(pipeline):
    options = {"batch_size": 6, "start": 18, "num_steps": 3}
    for a, b in zip(pipeline.batches(**options, num_workers=2), pipeline.batches(**options), strict=True):
        assert_same(a, b)


@pytest.mark.slow
def test_changed_shares_go_on_where_each_source_was(config, pipeline):
    changed = dataclasses.replace(
        config, sources=tuple(dataclasses.replace(s, weight=1.0) for s in config.sources[::2])
    )
    after = open_pipeline(changed, seed=3, history=pipeline.history, position=80)
    assert isinstance(after, MixturePipeline)
    assert after.shares == {"pairs": 0.5, "text": 0.5}
    assert after.schedule.counts(80) == {"text": 50, "pairs": 10}
    assert after.schedule.counts(90) == {"text": 55, "pairs": 15}
    received = list(after.batches(batch_size=10, start=80, num_steps=2, num_workers=1))
    for step, batch in enumerate(received, start=8):
        assert_same(batch, after.batch(10 * step, batch_size=10))
    again = open_pipeline(changed, seed=3, history=after.history, position=100)
    assert isinstance(again, MixturePipeline)
    assert again.history == after.history


def test_by_size_and_a_source_that_ends(config):
    sources = [dataclasses.replace(source, weight=None) for source in config.sources]
    sources[2] = dataclasses.replace(sources[2], data=dataclasses.replace(sources[2].data, max_epochs=2))
    pipeline = open_pipeline(dataclasses.replace(config, sources=tuple(sources)))
    assert isinstance(pipeline, MixturePipeline)
    total = sum(source.num_examples for source in pipeline.sources.values())
    for name, source in pipeline.sources.items():
        assert abs(pipeline.shares[name] - source.num_examples / total) < 1e-4
    assert pipeline.num_positions is not None
    assert abs(pipeline.num_positions - 2 * total) <= 2 * len(sources)
    steps = pipeline.num_positions // 8
    assert pipeline.num_steps(8) == steps
    with pytest.raises(DataError, match=r"source 'pairs' with max_epochs=2 of \d+ examples and a share of"):
        pipeline.batch(8 * steps, batch_size=8)


def test_decoder_only_and_encoder_only_mixtures(text_store, pair_store):
    causal = MixtureSource(
        name="text", data=PretrainingDataConfig(store=str(text_store), inputs_length=40, objective=CausalLM())
    )
    pairs = MixtureSource(
        name="pairs", data=PairsDataConfig(store=str(pair_store), inputs_length=20, targets_length=16)
    )
    batch = open_pipeline(MixtureDataConfig(sources=(causal, pairs)), architecture="decoder_only").batch(
        0, batch_size=20
    )
    assert {field.shape for field in batch.values()} == {(20, 40)}
    assert (batch["decoder_segment_ids"].max(axis=1) == 1).all()
    assert (batch["decoder_segment_ids"] == 0).any()
    masked = [
        MixtureSource(
            name=str(length),
            data=PretrainingDataConfig(store=str(text_store), inputs_length=length, objective=MaskedLM()),
        )
        for length in (16, 32)
    ]
    batch = open_pipeline(MixtureDataConfig(sources=tuple(masked)), architecture="encoder_only").batch(
        0, batch_size=8
    )
    assert {name for name in batch if "decoder" in name} == set()
    assert batch["encoder_segment_ids"].sum() < batch["encoder_segment_ids"].size


def test_what_does_not_fit_names_the_source(config, tmp_path, vocabulary, prose):
    other = SentencePieceVocabulary(vocabulary.path, extra_ids=90)
    write_text_store(prose(50, seed=1), other, tmp_path / "other")
    strange = MixtureSource(
        name="strange", data=PretrainingDataConfig(store=str(tmp_path / "other"), inputs_length=32), weight=1
    )
    with pytest.raises(DataError, match=r"source 'strange': .*another vocabulary"):
        open_pipeline(dataclasses.replace(config, sources=(*config.sources, strange)))
    with pytest.raises(ConfigError, match=r"trains|pairs to classify"):
        open_pipeline(config, architecture="encoder_only")
    assert MixtureHistory(phases=()).phases == ()
