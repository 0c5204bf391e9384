"""Lengths of generation follow from the run, fit its table of positions, and give way to what is asked."""

import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from t5lite.data.objectives import CausalLM, SpanCorruption
from t5lite.data.pipeline import PairsDataConfig, PretrainingDataConfig
from t5lite.decoding import TrainedOn, generation_lengths
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, LearnedPositions

SHAPE = {"vocab_size": 64, "embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2}
T5 = EncoderDecoderConfig(**SHAPE, num_encoder_layers=1, num_decoder_layers=1)
GPT = DecoderOnlyConfig(**SHAPE, num_layers=1, positions=LearnedPositions(), max_length=48)
T5_OF_ROWS = dataclasses.replace(T5, positions=LearnedPositions(), max_length=48)
LLAMA = DecoderOnlyConfig(**SHAPE, num_layers=1)
BERT = EncoderOnlyConfig(**SHAPE, num_layers=1, max_length=48)
PAIRS = PairsDataConfig(store="store", inputs_length=20, targets_length=9)


def trained(data) -> TrainedOn | None:
    return None if data is None else TrainedOn(data, data, from_scratch=True)


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (T5, PAIRS, (20, 9)),
        (T5, PretrainingDataConfig(store="s", inputs_length=64, objective=SpanCorruption()), (64, 14)),
        (T5, None, (512, 128)),
        (GPT, PAIRS, (20, 9)),
        (GPT, PretrainingDataConfig(store="s", inputs_length=32, objective=CausalLM()), (17, 16)),
        (GPT, None, (25, 24)),
        (dataclasses.replace(GPT, max_length=1024), None, (897, 128)),
    ],
)
def test_they_are_those_of_training_or_of_the_model(model, data, expected):
    lengths = generation_lengths(model, trained(data))
    assert (lengths.encoder_length, lengths.max_decode_length) == expected


@given(
    model=st.sampled_from([T5, T5_OF_ROWS, GPT, LLAMA, BERT]),
    data=st.sampled_from([None, PretrainingDataConfig(store="s", inputs_length=32, objective=CausalLM())]),
    encoder_length=st.none() | st.integers(1, 48),
    max_decode_length=st.none() | st.integers(1, 48),
    num_ahead=st.integers(0, 1),
)
def test_what_is_given_holds_and_the_rest_fits(model, data, encoder_length, max_decode_length, num_ahead):
    """Also of a strategy that reads a token more."""
    run = trained(data) if model.architecture == "decoder_only" else None
    lengths = generation_lengths(
        model,
        run,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        num_ahead=num_ahead,
    )
    assert encoder_length in (None, lengths.encoder_length)
    assert max_decode_length in (None, lengths.max_decode_length)
    assert min(lengths.encoder_length, lengths.max_decode_length) >= 1
    if model is T5_OF_ROWS and max_decode_length is None:
        model.check_length(lengths.max_decode_length + num_ahead)
    if model is GPT and None in (encoder_length, max_decode_length):
        # What fills the table leaves no row for a token more.
        assume(max(encoder_length or 1, max_decode_length or 1) + num_ahead <= GPT.max_length)
        model.check_length(lengths.encoder_length + lengths.max_decode_length - 1 + num_ahead)
        assert lengths.input_limit is not None
        model.check_length(lengths.input_limit + lengths.max_decode_length - 1 + num_ahead)
