"""What the planner knows of logits that are made in chunks of the vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution
from t5lite.training.logit_statistics import MAX_CHUNK_BYTES, MAX_CHUNK_BYTES_OF_CPU, cut_share
from tests.unit.planning.test_cost_model import (
    BATCH,
    MODELS,
    V5E,
    adamw,
    flops_and_those_of_the_program,
    partitioner,
)


@pytest.mark.parametrize("name", ["t5", "bert-masked-lm", "gpt2"])
def test_flops_are_those_of_the_program_which_makes_the_logits_again(name: str):
    predicted, needed = flops_and_those_of_the_program(name, None, "dots", vocab_chunks=2)
    assert predicted == needed
    assert needed > flops_and_those_of_the_program(name, None, "dots", vocab_chunks=1)[1]


@given(
    vocab_size=st.integers(1, 300_000),
    chunks=st.none() | st.integers(1, 400_000),
    tokens=st.integers(1, 100_000),
    platform=st.sampled_from(["tpu", "gpu", "cpu"]),
)
def test_chunks_hold_the_vocabulary_and_are_as_large_as_is_allowed(
    vocab_size: int, chunks: int | None, tokens: int, platform: str
):
    size, count = cut_share(vocab_size, chunks, num_tokens=tokens, platform=platform)
    assert (count - 1) * size < vocab_size <= count * size
    if chunks is None:
        largest = MAX_CHUNK_BYTES_OF_CPU if platform == "cpu" else MAX_CHUNK_BYTES
        assert 4 * tokens * (size - 1) < largest
        assert count == 1 or 4 * tokens * vocab_size > largest


def test_memory_is_of_one_chunk_and_of_the_gradient_of_what_logits_are_made_of():
    model = MODELS["llama"]
    whole, four = (
        CostModel(model, adamw(model), V5E, BATCH, vocab_chunks=number)
        .on(partitioner())
        .predict(PlannedExecution())
        for number in (1, 4)
    )
    tokens, width, vocab_size = 64 * 128 / 16, 512, 4096
    assert whole.memory.logits == tokens * 2 * vocab_size * 4
    assert four.memory.logits == tokens * (2 * vocab_size / 4 + width) * 4
    assert four.flops == whole.flops + tokens * 2 * width * vocab_size
    assert four.model_flops == whole.model_flops
