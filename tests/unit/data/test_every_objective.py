"""What holds for every objective and each architecture that it trains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.indexed_random import derive_key
from t5lite.data.objectives import OBJECTIVES, check_architecture
from t5lite.data.pipeline import open_pipeline
from t5lite.data.stores.token_store import TokenStore

KEY = derive_key(0, "noise")
TRAINED = [(name, each) for name, kind in OBJECTIVES.items() for each in kind.architectures]
ARCHITECTURES = ("encoder_decoder", "decoder_only", "encoder_only")
NO_SEGMENTS = {("SpanCorruption", "encoder_decoder"), ("Deshuffling", "encoder_decoder")}
LENGTH = 40


def make(name, architecture, vocabulary, *, tokens=None, indices=None, key=KEY, length=LENGTH):
    """A few rows of an objective at its defaults."""
    objective = OBJECTIVES[name]()
    layout = objective.layout(length, architecture)
    if tokens is None:
        tokens = np.random.default_rng(0).integers(3, 100, (4, layout.tokens)).astype(np.uint16)
    indices = np.arange(len(tokens)) if indices is None else indices
    return layout, objective.fields(tokens, key=key, indices=indices, vocabulary=vocabulary, layout=layout)


@pytest.mark.parametrize(("name", "architecture"), TRAINED)
def test_fields_have_the_shapes_of_the_layout(name, architecture, vocabulary):
    objective = OBJECTIVES[name]()
    objective.check_vocabulary(vocabulary, LENGTH, architecture)
    layout, fields = make(name, architecture, vocabulary)
    assert 0 < layout.stride <= layout.tokens
    lengths = {"encoder": layout.encoder_length, "decoder": layout.decoder_length}
    for field_name, field in fields.items():
        assert field.shape == (4, lengths[field_name.split("_")[0]])
        assert field.dtype == (np.float32 if field_name.endswith("weights") else np.int32)
        assert field.flags.c_contiguous
    present = {field_name.split("_")[0] for field_name in fields}
    assert present == {side for side, length in lengths.items() if length}
    assert LENGTH in lengths.values()
    assert OBJECTIVES[name].architectures[0] in ARCHITECTURES


@pytest.mark.parametrize(("name", "architecture"), TRAINED)
@settings(deadline=None, max_examples=8)
@given(length=st.integers(24, 90), seed=st.integers(0, 1 << 30))
def test_padding_has_no_weight_and_is_marked(name, architecture, vocabulary, length, seed):
    _, fields = make(name, architecture, vocabulary, key=derive_key(seed, "noise"), length=length)
    assert (
        fields[f"{'encoder' if architecture == 'encoder_only' else 'decoder'}_loss_weights"].any(axis=1).all()
    )
    for side in ("encoder", "decoder"):
        tokens = fields.get(f"{side}_input_tokens")
        if tokens is None:
            continue
        segments = fields.get(f"{side}_segment_ids", np.ones_like(tokens))
        ends = segments.sum(axis=1)
        np.testing.assert_array_equal(segments, np.arange(tokens.shape[1])[None, :] < ends[:, None])
        assert not tokens[segments == 0].any()
        if (weights := fields.get(f"{side}_loss_weights")) is not None:
            assert not weights[segments == 0].any()
        # Token ids start at 3 here: what is in use is 0 only where a decoder starts, or MaskedLM puts it.
        if name == "MaskedLM":
            continue
        starts_with_pad = side == "decoder" and architecture == "encoder_decoder"
        assert (tokens[:, int(starts_with_pad) :] != 0).sum() == segments[:, int(starts_with_pad) :].sum()


@pytest.mark.parametrize(("name", "architecture"), TRAINED)
def test_noise_depends_on_key_and_index_alone(name, architecture, vocabulary):
    layout, _ = make(name, architecture, vocabulary)
    tokens = np.random.default_rng(1).integers(3, 100, (6, layout.tokens))
    indices = np.array([0, 7, 3, 1 << 40, 8, 9])
    _, all_rows = make(name, architecture, vocabulary, tokens=tokens, indices=indices)
    order = np.array([4, 1, 3])
    _, some = make(name, architecture, vocabulary, tokens=tokens[order], indices=indices[order])
    assert set(some) == set(all_rows)
    for field_name, rows in some.items():
        np.testing.assert_array_equal(rows, all_rows[field_name][order])
    if name != "CausalLM":
        _, other = make(
            name, architecture, vocabulary, tokens=tokens, indices=indices, key=derive_key(1, "noise")
        )
        assert any((other[field_name] != rows).any() for field_name, rows in all_rows.items())


@pytest.mark.parametrize(("name", "architecture"), TRAINED)
def test_which_fields_there_are_does_not_depend_on_the_noise(name, architecture, vocabulary):
    _, fields = make(name, architecture, vocabulary)
    has_segments = any(field_name.endswith("segment_ids") for field_name in fields)
    for index in range(12):
        layout, _ = make(name, architecture, vocabulary)
        tokens = np.full((1, layout.tokens), 5)
        _, row = make(name, architecture, vocabulary, tokens=tokens, indices=np.array([index]))
        assert set(row) == set(fields)
    if (name, architecture) in NO_SEGMENTS:
        assert not has_segments


def test_a_pair_that_makes_no_sense_is_refused_with_what_does():
    refused = [(name, each) for name in OBJECTIVES for each in ARCHITECTURES if (name, each) not in TRAINED]
    assert len(refused) == 3 * len(OBJECTIVES) - len(TRAINED)
    for name, architecture in refused:
        with pytest.raises(ConfigError) as failure:
            PretrainingDataConfig(store="x", objective=OBJECTIVES[name]()).lengths(architecture)
        message = str(failure.value)
        assert f"data.objective={name} trains" in message
        assert f"model is {architecture}; use " in message
        fitting = [other for other, kind in OBJECTIVES.items() if architecture in kind.architectures]
        assert all(other in message for other in fitting)
        check_architecture(OBJECTIVES[fitting[0]](), architecture)


def spelled_out(name, architecture, fields, row):
    """The chunk that a row was made of, in some order, without special tokens."""
    if architecture == "encoder_only":
        return fields["encoder_target_tokens"][row][1:-1].tolist()
    if name in ("CausalLM", "PrefixLM") and architecture == "decoder_only":
        return fields["decoder_target_tokens"][row].tolist()
    target = fields["decoder_target_tokens"][row][fields["decoder_loss_weights"][row] > 0]
    if architecture == "decoder_only":
        given_tokens = fields["decoder_input_tokens"][row][fields["decoder_bidirectional"][row] > 0]
    else:
        given_tokens = fields["encoder_input_tokens"][row]
    both = target if name == "Deshuffling" else np.concatenate([given_tokens, target])
    return both.tolist()


@pytest.mark.parametrize(("name", "architecture"), TRAINED)
def test_no_token_is_lost_or_duplicated_over_an_epoch(name, architecture, text_store, vocabulary):
    config = PretrainingDataConfig(store=str(text_store), inputs_length=LENGTH, objective=OBJECTIVES[name]())
    pipeline = open_pipeline(config, architecture=architecture, seed=3)
    fields = pipeline.batch(pipeline.num_examples, batch_size=pipeline.num_examples)
    found = np.concatenate(
        [spelled_out(name, architecture, fields, row) for row in range(pipeline.num_examples)]
    )
    store = TokenStore.open(text_store)
    layout = OBJECTIVES[name]().layout(LENGTH, architecture)
    if OBJECTIVES[name]().separators(vocabulary, architecture) == ():
        stream = store.tokens(0, store.num_tokens)
    else:
        stream = np.concatenate([[*store.document(i).tolist(), 1] for i in range(store.num_documents)])
    first = layout.tokens - layout.stride  # what a row shares with the one before is asked for there
    used = stream[first : first + pipeline.num_examples * layout.stride]
    assert len(stream) - len(used) - first < layout.stride

    def histogram(tokens):
        tokens = tokens[(tokens > 1) & (tokens < vocabulary.sentinel_ids.min())]
        return np.bincount(tokens, minlength=vocabulary.size)

    np.testing.assert_array_equal(histogram(found), histogram(used))
