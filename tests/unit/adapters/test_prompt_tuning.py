"""Prompt tuning beside a model that has the prompt as tokens of its vocabulary."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.adapters import Adaptation, AdaptedModel, Base, NoAdapter, PromptTuning
from t5lite.adapters.base import united
from t5lite.core.errors import ConfigError
from t5lite.data.pipeline import PairsDataConfig
from t5lite.decoding import greedy
from t5lite.models.functional import build
from t5lite.optim.trained import resolve_trained
from t5lite.runner.planned_base import planned_base
from tests.unit.adapters.test_lora import CONFIGS, random_params

CONFIG = dataclasses.replace(CONFIGS["encoder_decoder"], tie_embeddings=False)
VOCAB, NUM = CONFIG.vocab_size, 5
BASE = build(CONFIG)
PARAMS = random_params(BASE.abstract_params, std=0.5)
MASK_BM = jnp.asarray([[1] * 6, [1] * 3 + [0] * 3], jnp.int32)


def batch(first: Any = None) -> dict[str, jax.Array]:
    """Return rows of two lengths, with ids before each."""
    rng = np.random.default_rng(1)
    tokens_BM = jnp.asarray(rng.integers(3, VOCAB, MASK_BM.shape), jnp.int32)
    segments_BM, num = MASK_BM, 0 if first is None else len(first)
    if first is not None:
        tokens_BM = jnp.concatenate([jnp.tile(jnp.asarray(first, jnp.int32), (2, 1)), tokens_BM], axis=1)
        segments_BM = jnp.pad(MASK_BM, ((0, 0), (num, 0)), constant_values=1)
    return {
        "encoder_input_tokens": tokens_BM,
        "encoder_segment_ids": segments_BM,
        "decoder_input_tokens": jnp.asarray(rng.integers(3, VOCAB, (2, 4)), jnp.int32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("initialization", ["vocabulary", "random"])
def test_logits_and_what_is_written_are_those_of_a_model_with_the_prompt_in_its_vocabulary(initialization):
    adapter = PromptTuning(num_tokens=NUM, initialization=initialization)
    model = AdaptedModel.of(BASE, adapter)
    own = random_params(model.apart(model.abstract_params)[1], seed=2)
    prompt_PD = own["prompt"]["embedding"]
    if initialization == "vocabulary":
        prompt_PD += PARAMS["token_embedder"]["embedding"][adapter._tokens(BASE)]
    table_VD = jnp.concatenate([PARAMS["token_embedder"]["embedding"], prompt_PD])
    kernel_DV = jnp.pad(PARAMS["logits"]["kernel"], ((0, 0), (0, NUM)))
    larger = build(dataclasses.replace(CONFIG, vocab_size=VOCAB + NUM))
    theirs = {**PARAMS, "token_embedder": {"embedding": table_VD}, "logits": {"kernel": kernel_DV}}

    @jax.jit
    def compute(params: Any, own: Any, theirs: Any) -> Any:
        ours = united(params, own)
        more = batch(range(VOCAB, VOCAB + NUM))
        texts = [
            greedy(
                module,
                each["encoder_input_tokens"],
                encoder_segment_ids_BM=each["encoder_segment_ids"],
                max_decode_length=6,
            )
            for module, each in (
                (model.bind_for_decoding(ours), batch()),
                (larger.bind_for_decoding(theirs), more),
            )
        ]
        return model.bind(ours)(batch()), larger.bind(theirs)(more)[..., :VOCAB], texts

    got, expected, texts = compute(PARAMS, own, theirs)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(got - BASE.bind(PARAMS)(batch())).max() > 0.01
    np.testing.assert_array_equal(*(np.asarray(jax.tree.leaves(each)[0]) for each in texts))


@pytest.mark.slow
def test_it_begins_as_different_frequent_tokens_before_the_input_and_is_trained_alone():
    adapter = PromptTuning(num_tokens=NUM)
    model = adapter.adapt(BASE)
    own = adapter.init(BASE, jax.random.key(0))
    ids = adapter._tokens(BASE)
    assert len({*ids.tolist()}) == NUM
    assert ids.min() > 2
    got = model.bind(united(PARAMS, own))(batch())
    np.testing.assert_allclose(got, BASE.bind(PARAMS)(batch(ids)), rtol=0, atol=1e-5)
    assert {*resolve_trained(adapter.trained(None), (), model.abstract_params).rate_factors} == {
        "prompt/embedding"
    }
    gradient = jax.grad(lambda own: (model.bind(united(PARAMS, own))(batch()) ** 2).mean())(own)
    assert (np.abs(gradient["prompt"]["embedding"]).max(axis=1) > 0).all()


def test_a_model_that_does_not_write_is_refused():
    with pytest.raises(ConfigError, match="the model is encoder_only; adapt it by adapter=LoRA"):
        PromptTuning().adapt(build(CONFIGS["encoder_only"]))


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match=r"num_tokens=0 must be from 1"):
        PromptTuning(num_tokens=0)
    with pytest.raises(ConfigError, match=r"num_tokens=38 must be at most 37, .*initialization='random'"):
        PromptTuning(num_tokens=38).adapt(BASE)
    packed: Any = SimpleNamespace(adapter=PromptTuning(), data=PairsDataConfig(store="pairs", pack=True))
    with pytest.raises(ConfigError, match=r"data\.pack=True puts several examples into a row; set"):
        planned_base(packed, None, None)
    base = Base(run="/base", step=1, digest="")
    held = SimpleNamespace(adaptation=Adaptation(adapter=PromptTuning(), base=base), config=None)
    source: Any = SimpleNamespace(run="/source", step=1, model=held)
    for adapter in (NoAdapter(), PromptTuning(num_tokens=3)):
        config: Any = SimpleNamespace(adapter=adapter, data=PairsDataConfig(store="pairs"), model=None)
        with pytest.raises(
            ConfigError, match=r"/source holds PromptTuning\(.* or begin from its base, /base"
        ):
            planned_base(config, None, source)
    model = PromptTuning().adapt(BASE)
    with pytest.raises(ConfigError, match="leaves out the prompt"):
        PromptTuning().check_trained(model, resolve_trained(("!prompt",), (), model.abstract_params))
