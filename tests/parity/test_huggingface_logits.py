"""Every family: what transformers computes with its weights is computed here, and the other way round."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from t5lite.interop.huggingface import export_folder, import_folder
from t5lite.models.config import EncoderOnlyConfig, ModelConfig
from t5lite.models.functional import build

pytestmark = pytest.mark.slow

VOCAB = 24
LENGTHS = np.array([7, 3, 1, 5])
_T5 = {
    "vocab_size": VOCAB,
    "d_model": 16,
    "d_ff": 20,
    "d_kv": 6,
    "num_heads": 3,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
_BERT = {
    "vocab_size": VOCAB,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 11,
    "hidden_dropout_prob": 0.0,
}
_GPT2 = {"vocab_size": VOCAB, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_inner": 20, "n_positions": 11}
_GPT2 |= {"bos_token_id": 1, "eos_token_id": 1}
_OPT = {
    "vocab_size": VOCAB,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "ffn_dim": 20,
    "max_position_embeddings": 11,
}
_LLAMA = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 20,
    "rms_norm_eps": 1e-5,
}
_ROBERTA = {**_BERT, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_MODERNBERT = {
    "vocab_size": VOCAB,
    "hidden_size": 12,
    "num_hidden_layers": 5,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "local_attention": 4,
    "pad_token_id": 0,
    "attn_implementation": "eager",
}
_T5GEMMA_SIDE = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "intermediate_size": 20,
    "query_pre_attn_scalar": 9,
    "sliding_window": 3,
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 2.0,
}
_T5GEMMA = {
    "decoder": _T5GEMMA_SIDE,
    "encoder": {
        **_T5GEMMA_SIDE,
        "hidden_size": 12,
        "num_attention_heads": 2,
        "head_dim": 4,
        "num_hidden_layers": 2,
    },
    "vocab_size": VOCAB,
    "attn_implementation": "eager",
}
_LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "t5-1.0": ("T5ForConditionalGeneration", "T5Config", {**_T5, "feed_forward_proj": "relu"}),
    "t5-1.1": (
        "T5ForConditionalGeneration",
        "T5Config",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "ul2": (
        "T5ForConditionalGeneration",
        "T5Config",
        {**_T5, "feed_forward_proj": "gated-silu", "tie_word_embeddings": False},
    ),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", _T5),
    "t5-encoder": ("T5EncoderModel", "T5Config", {**_T5, "feed_forward_proj": "gated-gelu"}),
    "umt5-encoder": ("UMT5EncoderModel", "UMT5Config", _T5),
    "t5gemma": ("T5GemmaForConditionalGeneration", "T5GemmaConfig", _T5GEMMA),
    "t5gemma-untied": (
        "T5GemmaForConditionalGeneration",
        "T5GemmaConfig",
        {**_T5GEMMA, "tie_word_embeddings": False},
    ),
    "bert": ("BertModel", "BertConfig", _BERT),
    "bert-pretraining": ("BertForPreTraining", "BertConfig", {**_BERT, "hidden_act": "gelu_new"}),
    "bert-masked-lm": ("BertForMaskedLM", "BertConfig", _BERT),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", _ROBERTA),
    "roberta-pooled": (
        "RobertaModel",
        "RobertaConfig",
        {**_ROBERTA, "pad_token_id": 0, "type_vocab_size": 2},
    ),
    "roberta-texts": ("RobertaForSequenceClassification", "RobertaConfig", {**_ROBERTA, "num_labels": 3}),
    "bert-spans": ("BertForQuestionAnswering", "BertConfig", _BERT),
    "roberta-spans": ("RobertaForQuestionAnswering", "RobertaConfig", _ROBERTA),
    "modernbert-spans": ("ModernBertForQuestionAnswering", "ModernBertConfig", _MODERNBERT),
    "modernbert-tags": (
        "ModernBertForTokenClassification",
        "ModernBertConfig",
        {**_MODERNBERT, "num_labels": 3, "num_hidden_layers": 2},
    ),
    "modernbert": ("ModernBertForMaskedLM", "ModernBertConfig", _MODERNBERT),
    # Every bias that there can be, and local layers first: an irregular pattern.
    "modernbert-hidden": (
        "ModernBertModel",
        "ModernBertConfig",
        {
            **_MODERNBERT,
            **dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
            "layer_types": [f"{kind}_attention" for kind in ("sliding", "full", "full", "sliding", "full")],
        },
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "gpt2-untied": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {**_GPT2, "tie_word_embeddings": False, "activation_function": "relu", "scale_attn_weights": False},
    ),
    "opt-350m": (
        "OPTForCausalLM",
        "OPTConfig",
        {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 8},
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "rope_theta": 500.0}),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "tie_word_embeddings": True, "head_dim": 6}),
    # Frequencies on both sides of the two wavelengths that the scaling blends between.
    "llama-3.1": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "rope_parameters": _LLAMA31}),
    "llama-linear": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**_LLAMA, "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0}},
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", {**_LLAMA, "sliding_window": 4}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _LLAMA),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_LLAMA, "head_dim": 6}),
}


def make_model(case: str) -> Any:
    """Random weights, norm scales and biases perturbed as well."""
    class_name, config_name, fields = CASES[case]
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(getattr(transformers, config_name)(**fields))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def make_batch(config: ModelConfig) -> tuple[dict[str, np.ndarray], dict[str, torch.Tensor]]:
    """Rows of different lengths, padded at their ends: for us, and for transformers."""
    rng = np.random.default_rng(1)
    mask_BL = (np.arange(LENGTHS.max())[None, :] < LENGTHS[:, None]).astype(np.int32)
    tokens_BL = rng.integers(2, VOCAB, mask_BL.shape).astype(np.int32)
    theirs = {"input_ids": tokens_BL, "attention_mask": mask_BL}
    if config.architecture == "decoder_only":
        ours = {"decoder_input_tokens": tokens_BL, "decoder_segment_ids": mask_BL}
    else:
        ours = {"encoder_input_tokens": tokens_BL, "encoder_segment_ids": mask_BL}
    if config.architecture == "encoder_decoder":
        ours["decoder_input_tokens"] = rng.integers(2, VOCAB, (len(LENGTHS), 6)).astype(np.int32)
        ours["decoder_segment_ids"] = np.ones_like(ours["decoder_input_tokens"])
        theirs["decoder_input_ids"] = ours["decoder_input_tokens"]
    if isinstance(config, EncoderOnlyConfig) and config.num_token_types:
        types_BL = rng.integers(0, config.num_token_types, mask_BL.shape).astype(np.int32)
        ours["encoder_token_types"] = theirs["token_type_ids"] = types_BL
    return ours, {name: torch.from_numpy(value).long() for name, value in theirs.items()}


def our_outputs(config: ModelConfig, params: Any) -> dict[str, np.ndarray]:
    model = build(config)
    outputs = jax.jit(lambda p, b: model.bind(p)(b))(params, make_batch(config)[0])
    named = outputs if isinstance(outputs, dict) else {"logits": outputs}
    return {name: np.asarray(value) for name, value in named.items()}


THEIR_NAMES = {
    "hidden": ("last_hidden_state",),
    "pooled": ("pooler_output",),
    "tokens": ("prediction_logits", "logits"),
    "sequence": ("seq_relationship_logits", "logits"),
    "labels": ("logits",),
    "logits": ("logits",),
}


def assert_same_outputs(model: Any, config: ModelConfig, params: Any) -> None:
    """Compare every output at every position that is not padding, to 1e-4 absolute."""
    with torch.no_grad():
        theirs = model.eval()(**make_batch(config)[1])
    seen = make_batch(config)[1]["attention_mask"].numpy().astype(bool)
    outputs = our_outputs(config, params)
    assert outputs
    for name, ours in outputs.items():
        if name == "span":
            expected = torch.stack([theirs.start_logits, theirs.end_logits], dim=-1).numpy()
            ours = np.swapaxes(ours, 1, 2)
        else:
            expected = next(theirs[key] for key in THEIR_NAMES[name] if key in theirs).float().numpy()
        assert expected.std() > 0.1, "the weights should matter"
        if ours.shape[1:2] == seen.shape[1:]:
            ours, expected = ours[seen], expected[seen]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4, err_msg=name)


def assert_same_parameters(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def weights_in(folder: Path) -> dict[str, np.ndarray]:
    return {name: t for file in folder.glob("*.safetensors") for name, t in load_file(file).items()}


# The plain models are in benchmarks/parity_cases.py; these are their less common choices.
@pytest.mark.parametrize(
    "case",
    [
        *("ul2", "mt5", "t5-encoder", "umt5-encoder", "t5gemma-untied", "bert-pretraining"),
        *(
            "roberta",
            "roberta-pooled",
            "roberta-texts",
            "bert-spans",
            "roberta-spans",
            "modernbert",
            "modernbert-hidden",
            "modernbert-spans",
            "modernbert-tags",
            "gpt2-untied",
        ),
        *("llama", "llama-tied", "llama-3.1", "llama-linear", "mistral", "qwen2", "qwen3"),
    ],
)
def test_in_and_out_again(case, tmp_path):
    model = make_model(case)
    model.save_pretrained(tmp_path / "theirs")
    config, params = import_folder(tmp_path / "theirs")
    assert_same_outputs(model, config, params)

    export = export_folder(params, config, tmp_path / "ours")
    names = {"mt5": "T5ForConditionalGeneration"}
    assert export.class_name == names.get(case, CASES[case][0])
    again = getattr(transformers, export.class_name).from_pretrained(tmp_path / "ours", local_files_only=True)
    assert_same_outputs(again, config, params)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name].numpy(), value.numpy(), err_msg=name)

    config_again, params_again = import_folder(tmp_path / "ours")
    assert config_again == config
    assert_same_parameters(params_again, params)


@pytest.mark.parametrize("case", ["t5-1.0", "bert-pretraining", "gpt2", "opt-350m", "llama"])
def test_what_transformers_saves_again_is_bitwise_the_same(case, tmp_path):
    model = make_model(case)
    model.save_pretrained(tmp_path / "theirs")
    config, params = import_folder(tmp_path / "theirs")
    export_folder(params, config, tmp_path / "ours")
    again = type(model).from_pretrained(tmp_path / "ours", local_files_only=True)
    again.save_pretrained(tmp_path / "again")
    before, after = weights_in(tmp_path / "theirs"), weights_in(tmp_path / "again")
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


@pytest.mark.parametrize("case", ["t5-1.1", "bert-masked-lm", "gpt2", "llama"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read(case, dtype, tmp_path):
    model = make_model(case).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "theirs")
    config, params = import_folder(tmp_path / "theirs")
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    # Reloaded, for model.float() would leave Llama's frequencies rounded.
    model = type(model).from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    assert_same_outputs(model, config, params)
    # What was half precision loses nothing on the way out.
    export_folder(params, config, tmp_path / "ours", dtype=dtype)
    assert_same_parameters(import_folder(tmp_path / "ours")[1], params)
    assert type(model).from_pretrained(tmp_path / "ours").dtype == getattr(torch, dtype)


@pytest.mark.parametrize("case", ["t5-1.1", "t5gemma", "bert", "gpt2"])
def test_shards_both_ways(case, tmp_path):
    model = make_model(case)
    model.save_pretrained(tmp_path / "theirs", max_shard_size="3KB")
    config, params = import_folder(tmp_path / "theirs")
    export = export_folder(params, config, tmp_path / "ours", max_shard_bytes=3000)
    assert "model.safetensors.index.json" in export.files
    assert "model.safetensors" not in export.files
    index = json.loads((tmp_path / "ours/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == export.num_bytes
    assert_same_outputs(type(model).from_pretrained(tmp_path / "ours"), config, params)
    assert_same_parameters(import_folder(tmp_path / "ours")[1], params)


@pytest.mark.parametrize("case", ["t5-1.0", "bert-pretraining", "gpt2", "llama"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_are_read(case, zipped, tmp_path):
    model = make_model(case)
    model.save_pretrained(tmp_path / "theirs")
    config, params = import_folder(tmp_path / "theirs")
    (tmp_path / "theirs/model.safetensors").unlink()
    torch.save(
        model.state_dict(),
        tmp_path / "theirs/pytorch_model.bin",
        _use_new_zipfile_serialization=zipped,
    )
    config_again, params_again = import_folder(tmp_path / "theirs")
    assert config_again == config
    assert_same_parameters(params_again, params)


@pytest.mark.parametrize(
    "case", ["t5gemma", "roberta", "modernbert", "llama-3.1", "mistral", "qwen2", "qwen3"]
)
def test_packed_rows_longer_than_the_window_are_what_transformers_makes_of_each_text(case, tmp_path):
    model = make_model(case)
    model.save_pretrained(tmp_path)
    config, params = import_folder(tmp_path)
    rng, packed = np.random.default_rng(0), {}
    theirs: list[dict[str, torch.Tensor]] = [{}, {}]
    names = {"encoder": "input_ids", "decoder": "decoder_input_ids"}
    # A learned table has a row for every token of a packed row.
    of_encoder = (8, 11) if config.position_limit is None else (5, 4)
    for side, lengths in (("encoder", of_encoder), ("decoder", (10, 6))):
        if side not in config.sides:
            continue
        name = "input_ids" if len(config.sides) == 1 else names[side]
        texts = [rng.integers(2, VOCAB, (1, length)).astype(np.int32) for length in lengths]
        packed[f"{side}_input_tokens"] = np.concatenate(texts, axis=1)
        packed[f"{side}_segment_ids"] = np.repeat([[1, 2]], lengths, axis=1).astype(np.int32)
        for each, text in zip(theirs, texts, strict=True):
            each[name] = torch.from_numpy(text).long()
    bound = build(config)
    outputs = jax.jit(lambda params, batch: bound.bind(params)(batch))(params, packed)
    ours = outputs["tokens"] if isinstance(outputs, dict) else outputs
    with torch.no_grad():
        expected = [model(**each).logits.numpy() for each in theirs]
    np.testing.assert_allclose(ours, np.concatenate(expected, axis=1), rtol=0, atol=1e-4)
