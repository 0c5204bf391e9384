"""Exported models compute in transformers what they compute here, and the other way round."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from t5lite.decoding import greedy
from t5lite.interop.huggingface import export_folder, import_folder
from t5lite.models.config import EncoderDecoderConfig, GatedMLP, PlainMLP, RelativePositions, RMSNorm
from t5lite.models.functional import build
from tests.families import FAMILIES

pytestmark = pytest.mark.slow

VERSIONS: dict[str, dict[str, Any]] = {
    "1.0": {"mlp": PlainMLP(activation="relu"), "tie_embeddings": True},
    "1.1": {"mlp": GatedMLP(activation="gelu_tanh"), "tie_embeddings": False},
}
VOCAB_SIZE = 24
LENGTHS = np.array([9, 4, 1, 6])


def make_config(version: str, **changes: Any) -> EncoderDecoderConfig:
    """Widths and depths all different, so that no two axes or stacks can be confused."""
    fields: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "embed_dim": 16,
        "mlp_dim": 20,
        "head_dim": 6,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "positions": RelativePositions(num_buckets=8, max_distance=6),
        "norm": RMSNorm(epsilon=1e-5),
    }
    return EncoderDecoderConfig(**{**fields, **VERSIONS[version], **changes})


def make_params(config: EncoderDecoderConfig) -> Any:
    """Initial values plus noise: norm scales and relative biases are not trivial either."""
    model = build(config)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: np.array(x + 0.2 * rng.standard_normal(x.shape), x.dtype),
        jax.jit(model.init)(jax.random.key(0)),
    )


def make_batch() -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(1)
    mask_BM = (np.arange(LENGTHS.max())[None, :] < LENGTHS[:, None]).astype(np.int32)
    tokens_BM = rng.integers(2, VOCAB_SIZE, mask_BM.shape).astype(np.int32) * mask_BM
    decoder_BL = rng.integers(2, VOCAB_SIZE, (len(LENGTHS), 7)).astype(np.int32)
    decoder_BL[:, 0] = 0
    batch = {
        "encoder_input_tokens": tokens_BM,
        "encoder_segment_ids": mask_BM,
        "decoder_input_tokens": decoder_BL,
        "decoder_segment_ids": np.ones_like(decoder_BL),
    }
    return batch, mask_BM


def our_logits(config: EncoderDecoderConfig, params: Any) -> np.ndarray:
    model = build(config)
    return np.asarray(jax.jit(lambda p, b: model.bind(p)(b))(params, make_batch()[0]))


def their_logits(model: Any) -> np.ndarray:
    batch, mask_BM = make_batch()
    with torch.no_grad():
        output = model.eval()(
            input_ids=torch.from_numpy(batch["encoder_input_tokens"]).long(),
            attention_mask=torch.from_numpy(mask_BM).long(),
            decoder_input_ids=torch.from_numpy(batch["decoder_input_tokens"]).long(),
        )
    return output.logits.float().numpy()


def assert_same_parameters(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_out_and_back_through_transformers(version, tmp_path):
    config = make_config(version)
    params = make_params(config)
    expected = our_logits(config, params)
    assert np.abs(expected).max() > 0.5

    export_folder(params, config, tmp_path / "ours")
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours", local_files_only=True)
    np.testing.assert_allclose(their_logits(theirs), expected, rtol=0, atol=1e-4)

    theirs.save_pretrained(tmp_path / "theirs")
    config_back, params_back = import_folder(tmp_path / "theirs")
    assert config_back == config
    assert_same_parameters(params_back, params)
    np.testing.assert_array_equal(our_logits(config_back, params_back), expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_models_that_transformers_made_compute_the_same_here(version, tmp_path):
    """Including T5 1.1 made by transformers 5, which ties the embeddings but does not scale the logits."""
    torch.manual_seed(0)
    theirs = T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCAB_SIZE,
            d_model=16,
            d_ff=20,
            d_kv=6,
            num_heads=3,
            num_layers=2,
            num_decoder_layers=3,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=20,
            feed_forward_proj="relu" if version == "1.0" else "gated-gelu",
            tie_word_embeddings=version == "1.0",
        )
    )
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    config, params = import_folder(tmp_path)
    assert config.tie_embeddings == (version == "1.0")
    assert config.dropout_rate == 0.1
    np.testing.assert_allclose(our_logits(config, params), their_logits(theirs), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        make_config("1.0", num_encoder_layers=3),
        make_config("1.1", num_encoder_layers=3),
        make_config("1.1"),
        dataclasses.replace(FAMILIES["t5gemma"], num_decoder_layers=4),
    ],
    ids=["1.0", "1.1", "1.1-deeper-decoder", "t5gemma-deeper-decoder"],
)
def test_greedy_search_agrees_token_for_token(config, tmp_path):
    """Through their cache; without it where a T5's decoder is the deeper stack (see generation_config)."""
    # Few tokens, many rows and a large EOS logit, so that some rows end early and some do not end.
    config = dataclasses.replace(config, vocab_size=8)
    params = make_params(config)
    tied = config.tie_embeddings
    eos_head_D = params["token_embedder"]["embedding"][1] if tied else params["logits"]["kernel"][:, 1]
    eos_head_D *= 3
    rng = np.random.default_rng(2)
    mask_BM = (np.arange(9)[None, :] < rng.integers(1, 10, 32)[:, None]).astype(np.int32)
    tokens_BM = rng.integers(2, config.vocab_size, mask_BM.shape).astype(np.int32) * mask_BM
    model = build(config)

    @jax.jit
    def decode(params, tokens_BM, segment_ids_BM):
        bound = model.bind(params)
        return greedy(bound, tokens_BM, encoder_segment_ids_BM=segment_ids_BM, max_decode_length=16)

    ours = np.asarray(decode(params, jnp.asarray(tokens_BM), jnp.asarray(mask_BM)))
    export_folder(params, config, tmp_path / "out")
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out", local_files_only=True).generate(
        input_ids=torch.from_numpy(tokens_BM).long(),
        attention_mask=torch.from_numpy(mask_BM).long(),
        max_new_tokens=16,
        do_sample=False,
        num_beams=1,
    )
    generated = theirs.numpy()[:, 1:]  # without the decoder's start token
    padded = np.zeros_like(ours)
    padded[:, : generated.shape[1]] = generated
    np.testing.assert_array_equal(ours, padded)
    num_ended = int((ours == 1).any(axis=1).sum())
    assert 0 < num_ended < len(ours), "rows with and without EOS should both be compared"


@pytest.mark.parametrize("version", VERSIONS)
def test_bfloat16_export_loads_as_bfloat16_with_rounded_values(version, tmp_path):
    config = make_config(version)
    params = make_params(config)
    export_folder(params, config, tmp_path / "out", dtype="bfloat16")
    theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out", local_files_only=True)
    assert theirs.dtype == torch.bfloat16
    _, back = import_folder(tmp_path / "out")
    assert_same_parameters(
        back, jax.tree.map(lambda x: np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32), params)
    )
    table = theirs.get_input_embeddings().weight.detach().float().numpy()
    np.testing.assert_array_equal(table, back["token_embedder"]["embedding"])
