"""A configuration says which fields its batches have before a store is opened, and is right."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.batch_fields import BATCH_FIELDS, COUNTING, SEGMENT_IDS, SIDES, BatchSpec
from t5lite.core.errors import ConfigError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.indexed_random import derive_key
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.objectives import OBJECTIVES, MaskedLM, SpanCorruption
from t5lite.data.pipeline import open_pipeline

VARIANTS = [
    *(kind() for kind in OBJECTIVES.values()),
    SpanCorruption(random_roll=True),
    SpanCorruption(noise_density=0.5),
    SpanCorruption(noise_density=0.3, mean_span_length=8.0),
]
TRAINED = [(each, architecture) for each in VARIANTS for architecture in each.architectures]


@given(trained=st.sampled_from(TRAINED), length=st.integers(16, 120))
def test_an_objective_names_the_fields_that_it_makes(vocabulary, trained, length):
    objective, architecture = trained
    try:
        layout = objective.layout(length, architecture)
    except ConfigError:
        return  # too short for its settings
    fields = objective.fields(
        np.full((2, layout.tokens), 5, np.uint16),
        key=derive_key(0, "noise"),
        indices=np.arange(2),
        vocabulary=vocabulary,
        layout=layout,
    )
    assert set(objective.field_names(layout)) == fields.keys()


def configs(text_store, pair_store):
    text = {"store": str(text_store), "inputs_length": 32}
    pairs = PairsDataConfig(store=str(pair_store), inputs_length=40, targets_length=24)
    causal = PretrainingDataConfig(**text, objective=OBJECTIVES["CausalLM"]())
    span = PretrainingDataConfig(**text)
    sentences = PretrainingDataConfig(**text, objective=MaskedLM(next_sentence=True))
    yield sentences, "encoder_only"
    for architecture in ("encoder_decoder", "decoder_only"):
        yield dataclasses.replace(pairs, pack=True), architecture
    for sources, architecture in (
        ({"span": span, "pairs": pairs}, "encoder_decoder"),
        ({"long": span, "short": dataclasses.replace(span, inputs_length=24)}, "encoder_decoder"),
        ({"causal": causal, "span": span}, "decoder_only"),
        ({"sentences": sentences, "plain": dataclasses.replace(span, objective=MaskedLM())}, "encoder_only"),
    ):
        mixed = tuple(MixtureSource(name=name, data=data, weight=1) for name, data in sources.items())
        yield MixtureDataConfig(sources=mixed), architecture


def test_batches_have_the_fields_that_their_configuration_says(text_store, pair_store):
    for config, architecture in configs(text_store, pair_store):
        spec = config.batch_spec(architecture)
        stream = open_pipeline(config, architecture=architecture)
        assert stream.spec == spec
        batch = stream.batch(0, batch_size=4)
        assert {name: (field.shape, field.dtype.name) for name, field in batch.items()} == spec.shapes(4)


@given(
    fields=st.sets(st.sampled_from(sorted(BATCH_FIELDS)), min_size=1),
    more=st.sets(st.sampled_from(sorted(BATCH_FIELDS)), min_size=1),
    lengths=st.tuples(*[st.integers(0, 9)] * 4),
)
def test_what_covers_several_holds_each_and_blank_rows_count_for_nothing(fields, more, lengths):
    first = BatchSpec(fields=frozenset(fields), encoder_length=lengths[0], decoder_length=lengths[1])
    second = BatchSpec(fields=frozenset(more), encoder_length=lengths[2], decoder_length=lengths[3])
    both = BatchSpec.covering([first, second])
    assert BatchSpec.covering([second, first]) == both == BatchSpec.covering([both, first, second])
    for spec in (first, second):
        assert spec.fields <= both.fields
        assert all(spec.lengths[side] <= both.lengths[side] for side in SIDES)
    if first.lengths != second.lengths:
        assert all(name in both.fields for name, side in SEGMENT_IDS.items() if both.lengths[side])
    blank = both.blank(3)
    assert {name: (row.shape, row.dtype.name) for name, row in blank.items()} == both.shapes(3)
    for name in COUNTING & blank.keys():
        assert not (blank[name] > 0).any()


def test_what_cannot_be_mixed_says_so_before_a_store_is_opened():
    pairs = PairsDataConfig(store="nowhere")
    mixture = MixtureDataConfig(sources=(MixtureSource(name="a", data=pairs),))
    with pytest.raises(ConfigError, match="the source 'a' has pairs to classify"):
        mixture.batch_spec("encoder_only")
