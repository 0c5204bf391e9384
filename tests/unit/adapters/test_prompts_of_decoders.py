"""Prompt tuning of a decoder alone, beside a model that has the prompt as tokens of its vocabulary."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.adapters import Adaptation, AdaptedModel, Base, PromptTuning
from t5lite.adapters.base import united
from t5lite.core.errors import ConfigError
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.decoding.decoder import ContinuingDecoder
from t5lite.decoding.scoring import score_targets
from t5lite.decoding.search import run_search
from t5lite.decoding.strategies import Beam, Greedy, Search
from t5lite.models.config import AttentionConfig, DecoderOnlyConfig, Execution, LearnedPositions
from t5lite.models.functional import build
from t5lite.runner import embedding
from t5lite.runner.run_directory import RunDirectory
from tests.unit.adapters.test_lora import SIZES, random_params

VOCAB, NUM, WRITTEN = SIZES["vocab_size"], 3, 5
MODELS: dict[str, DecoderOnlyConfig] = {
    "windows": DecoderOnlyConfig(
        **SIZES, num_layers=2, tie_embeddings=False, attention=AttentionConfig(windows=(4, None))
    ),
    "positions": DecoderOnlyConfig(
        **SIZES,
        num_layers=1,
        tie_embeddings=False,
        positions=LearnedPositions(),
        max_length=12,
        prefix_attention="bidirectional",
    ),
}
ADAPTER = PromptTuning(num_tokens=NUM, initialization="random")
TOKENS_BL = jnp.asarray(np.random.default_rng(1).integers(3, VOCAB, (2, 5)), jnp.int32)
FIRST_B = jnp.asarray([0, 2], jnp.int32)
VIRTUAL = jnp.arange(VOCAB, VOCAB + NUM, dtype=jnp.int32)


def written(module: Any, prompts_BL: jax.Array, first_B: jax.Array) -> list[jax.Array]:
    """Return what two searches write, and what given targets score."""
    search = Search(max_decode_length=WRITTEN, eos_id=1, known_V=np.arange(module.config.vocab_size) < VOCAB)
    decoder = ContinuingDecoder(module, WRITTEN)
    texts = [
        run_search(decoder, prompts_BL, first_B, strategy=strategy, search=search).tokens_RL
        for strategy in (Greedy(), Beam(num_beams=2))
    ]
    lengths_B = jnp.asarray([WRITTEN, 3])
    return [*texts, score_targets(decoder, prompts_BL, first_B, texts[0], lengths_B, known_V=search.known_V)]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_computes_and_writes_as_a_model_with_the_prompt_in_its_vocabulary(name):
    """Prompts of two lengths, padded in front: theirs begins behind the padding, too."""
    config = MODELS[name]
    base = build(config)
    model = AdaptedModel.of(base, ADAPTER)
    params = random_params(base.abstract_params, std=0.5)
    own = random_params(model.apart(model.abstract_params)[1], seed=2)
    larger = build(dataclasses.replace(config, vocab_size=VOCAB + NUM))
    theirs = {
        **params,
        "token_embedder": {
            "embedding": jnp.concatenate([params["token_embedder"]["embedding"], own["prompt"]["embedding"]])
        },
        "logits": {"kernel": jnp.pad(params["logits"]["kernel"], ((0, 0), (0, NUM)))},
    }
    prompts_BL = jnp.stack(
        [jnp.insert(row, first, VIRTUAL) for row, first in zip(TOKENS_BL, FIRST_B, strict=True)]
    )
    marks_BL = jnp.asarray([[1] * 5, [1, 1, 1, 0, 0]], jnp.int32)
    given_BL = jnp.asarray([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], jnp.int32)
    fields = {"decoder_segment_ids": marks_BL, "decoder_bidirectional": given_BL}
    more = {name: jnp.pad(ids, ((0, 0), (NUM, 0)), constant_values=1) for name, ids in fields.items()}
    rows_BL = jnp.concatenate([jnp.tile(VIRTUAL, (2, 1)), TOKENS_BL], axis=1)

    @jax.jit
    def compute(params: Any, own: Any, theirs: Any) -> Any:
        ours, other = model.bind(united(params, own)), larger.bind(theirs)
        return (
            (ours({"decoder_input_tokens": TOKENS_BL, **fields}), written(ours, TOKENS_BL, FIRST_B)),
            (
                other({"decoder_input_tokens": rows_BL, **more})[:, NUM:, :VOCAB],
                written(other, prompts_BL, FIRST_B),
            ),
        )

    (got, wrote), (expected, they_wrote) = compute(params, own, theirs)
    seen = np.asarray(marks_BL) > 0
    np.testing.assert_allclose(got[seen], expected[seen], rtol=0, atol=2e-5 * np.abs(expected).max())
    for one, other in zip(wrote[:2], they_wrote[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(wrote[2], they_wrote[2], rtol=1e-4, atol=1e-4)


def test_the_prompt_takes_positions_of_a_row():
    base = build(MODELS["positions"])
    model = AdaptedModel.of(base, ADAPTER)
    assert (model.config.position_limit, base.config.position_limit) == (12 - NUM, 12)
    assert model.abstract_params["decoder"]["positions"]["embedding"].shape[0] == 12
    with pytest.raises(ConfigError, match="10 tokens is longer than the 9 rows that the learned"):
        model.config.check_length(10)
    with pytest.raises(ConfigError, match=r"13 tokens is longer than the 12 rows"):
        jax.eval_shape(
            lambda params: ContinuingDecoder(model.bind(params), 6).start(TOKENS_BL, None),
            model.abstract_params,
        )
    with pytest.raises(ConfigError, match=r"^12 virtual tokens leave no room for text in the 12 positions"):
        PromptTuning(num_tokens=12).adapt(base)


def test_texts_are_embedded_up_to_what_the_prompt_leaves(tmp_path, monkeypatch):
    config = MODELS["positions"]
    adaptation = Adaptation(adapter=ADAPTER, base=Base(run="/base", step=1, digest=""))
    RunDirectory.at(tmp_path).write_model(
        config, ByteVocabulary(), execution=Execution(), adaptation=adaptation
    )
    trained = SimpleNamespace(model=AdaptedModel.of(build(config), ADAPTER), params={}, step=1)
    monkeypatch.setattr(embedding, "load_trained", lambda *found, **chosen: trained)
    found = embedding.start_embedding(tmp_path, ["a text of many bytes"])
    assert found.length == found.limit == 12 - NUM
    with pytest.raises(ConfigError, match="10 tokens is longer than the 9 rows"):
        embedding.start_embedding(tmp_path, ["a"], max_length=10)
