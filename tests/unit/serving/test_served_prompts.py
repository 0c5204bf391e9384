"""What a prompt leaves room for: never less than what is taken."""

import contextlib

import pytest

from t5lite.data.vocabulary import ByteVocabulary
from t5lite.decoding import decoding_mode
from t5lite.models.config import DecoderOnlyConfig, LearnedPositions
from t5lite.serving.protocol import RequestError
from t5lite.serving.served import Prompts

CONTEXT = 21
"""One more than there are positions, as the last token is never read."""


@pytest.fixture(scope="module")
def prompts():
    vocabulary = ByteVocabulary(extra_ids=0)
    config = DecoderOnlyConfig(
        vocab_size=vocabulary.size, embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_layers=1,
        max_length=CONTEXT - 1, positions=LearnedPositions(),
    )  # fmt: skip
    mode = decoding_mode(config)(config, vocabulary, encoder_length=CONTEXT, max_decode_length=9)
    return Prompts(config, mode, None, max_tokens=9)


@pytest.mark.parametrize("as_ids", [False, True])
def test_a_prompt_and_what_is_written_share_the_context(prompts, as_ids):
    """All is taken that has positions, and nothing else; a prompt that is taken is read whole."""
    for size in range(1, 3 * CONTEXT):
        text = "x" * size
        prompt = tuple(prompts._mode.vocabulary.encode(text).tolist()) if as_ids else text
        taken = []
        with contextlib.suppress(RequestError):
            row = prompts.row(prompt)
            assert len(row.ids) == size
            for max_tokens in range(1, 3 * CONTEXT):
                prompts.check_room(row, max_tokens)
                taken.append(max_tokens)
        assert taken == list(range(1, CONTEXT - size + 1))


def test_what_has_no_room_is_refused_as_openai_does(prompts):
    with pytest.raises(RequestError, match="prompt has 21 tokens; this model reads 20 at most") as refused:
        prompts.row("x" * 21)
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(RequestError, match="max_tokens=3 beside a prompt of 19 tokens; there is room for 2"):
        prompts.check_room(prompts.row("x" * 19), 3)
