"""The rules, configurations and names of every family; what is refused, and how."""

import dataclasses
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from t5lite.core.errors import CheckpointError, UserError
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.interop.huggingface import (
    FAMILIES,
    check_tokenizer,
    export_folder,
    fits,
    import_folder,
    params_from_state_dict,
    state_dict_from_params,
)
from t5lite.interop.huggingface.families import family_of, family_of_json
from t5lite.interop.huggingface.family import Values
from t5lite.interop.huggingface.tensor_rules import conv1d, linear, plan, vector
from t5lite.interop.trees import flatten
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    GatedMLP,
    Head,
    LayerNorm,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
    StackSizes,
    T5Initializer,
)
from t5lite.models.functional import build
from t5lite.models.presets import PRESETS, preset
from tests.small_folders import GPT2, SIZES

HEADS: tuple[Head, ...] = (
    "hidden", "pooled", "masked_lm", "pretraining", "sequence_classification", "token_classification",
    "span_extraction",
)  # fmt: skip


def _t5_encoder(*, per_layer: bool) -> EncoderOnlyConfig:
    return EncoderOnlyConfig(
        **SIZES,
        num_layers=2,
        positions=RelativePositions(per_layer=per_layer),
        head="hidden",
        num_token_types=0,
        norm=RMSNorm(epsilon=1e-6),
        norm_placement="pre",
        embedding_norm=False,
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(),
        initializer=T5Initializer(),
    )


CONFIGS: dict[str, ModelConfig] = {
    "t5": EncoderDecoderConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=2),
    "umt5": EncoderDecoderConfig(
        **SIZES, num_encoder_layers=1, num_decoder_layers=2, positions=RelativePositions(per_layer=True)
    ),
    "t5_encoder": _t5_encoder(per_layer=False),
    "t5_encoder-per_layer": _t5_encoder(per_layer=True),
    "t5gemma": dataclasses.replace(
        preset("t5gemma-9b-2b"),
        **SIZES,
        num_kv_heads=1,
        num_encoder_layers=3,
        num_decoder_layers=2,
        encoder_sizes=StackSizes(embed_dim=6, mlp_dim=8, head_dim=2, num_heads=3),
        attention=AttentionConfig(scaled=True, scale_dim=9, windows=(None, 3)),
        logit_softcap=None,
    ),
    "gpt2": DecoderOnlyConfig(**GPT2),
    "opt": DecoderOnlyConfig(
        **{**GPT2, "positions": LearnedPositions(offset=2), "mlp": PlainMLP(activation="relu", bias=True)}
    ),
    "llama": DecoderOnlyConfig(**SIZES, num_layers=2, num_kv_heads=1, positions=RotaryPositions(base=500.0)),
    **{
        f"roberta-{head}": EncoderOnlyConfig(
            **SIZES,
            num_layers=2,
            max_length=6,
            num_token_types=1,
            positions=LearnedPositions(offset=3),
            head=head,
        )
        for head in HEADS
        if head != "pretraining"
    },
    "modernbert": dataclasses.replace(preset("modernbert-base"), **SIZES, num_layers=6, max_length=6),
    "modernbert-hidden": dataclasses.replace(
        preset("modernbert-base"),
        **SIZES,
        head="hidden",
        num_layers=5,
        positions=RotaryPositions(base=500.0),
        norm=LayerNorm(epsilon=1e-5),
        mlp=GatedMLP(activation="silu", bias=True),
        attention=AttentionConfig(scaled=True, biases="all", windows=(3, None, None, 3)),
    ),
    "llama-3.1": DecoderOnlyConfig(
        **SIZES,
        num_layers=2,
        positions=RotaryPositions(scaling=Llama3Scaling(factor=4.0, original_max_length=32)),
    ),
    "llama-linear": DecoderOnlyConfig(
        **SIZES, num_layers=2, positions=RotaryPositions(scaling=LinearScaling(factor=3.0))
    ),
    "mistral": DecoderOnlyConfig(
        **SIZES, num_layers=2, attention=AttentionConfig(scaled=True, windows=(4,)), num_kv_heads=1
    ),
    "qwen2": DecoderOnlyConfig(
        **SIZES, num_layers=2, attention=AttentionConfig(scaled=True, biases="qkv"), num_kv_heads=1
    ),
    "qwen3": DecoderOnlyConfig(
        **SIZES, num_layers=2, attention=AttentionConfig(scaled=True, qk_norm=True), num_kv_heads=1
    ),
    **{f"bert-{head}": EncoderOnlyConfig(**SIZES, num_layers=2, max_length=6, head=head) for head in HEADS},
}


def make_params(config: ModelConfig) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), build(config).abstract_params
    )


def exported(name: str, folder: Path) -> tuple[ModelConfig, Any]:
    params = make_params(CONFIGS[name])
    export_folder(params, CONFIGS[name], folder)
    return CONFIGS[name], params


def change_json(folder: Path, **changes: Any) -> None:
    """Change values, within the objects that have some of their own (a side of a T5Gemma)."""
    values = json.loads((folder / "config.json").read_text())
    for key, change in changes.items():
        within = isinstance(change, dict) and isinstance(values.get(key), dict)
        values[key] = values[key] | change if within else change
    (folder / "config.json").write_text(json.dumps(values))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_and_parameters_come_back_as_they_went(name, tmp_path):
    config, params = exported(name, tmp_path / "out")
    config_back, params_back = import_folder(tmp_path / "out")
    assert config_back == config
    assert_same(params_back, params)
    assert_same(params_from_state_dict(state_dict_from_params(params, config), config), params)


def test_every_family_is_tried():
    assert {name.partition("-")[0] for name in CONFIGS} - {"umt5"} == FAMILIES.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_that_fits_is_what_its_config_json_says(name):
    """So that a run of the preset can be initialized from the published weights."""
    config = preset(name)
    if fits(config) is not None:
        assert name.startswith(("transformer-", "chinchilla-", "lamda-", "palm-"))
        return
    family = family_of(config)
    content = family.to_json(config, "float32", {"bos": None, "eos": 2, "pad": None})
    shapes = {path: leaf.shape for path, leaf in flatten(build(config).abstract_params)}
    tensors = {tensor.name: tensor.shape for tensor in plan(family.rules(config), shapes, config.stacks)}
    values = Values(json.loads(json.dumps({**content, "architectures": [family.class_name(config)]})))
    assert family_of_json(values) is family
    assert family.completed(family.from_json(values), values, tensors) == config


def test_a_roberta_counts_positions_from_the_padding_of_its_vocabulary(tmp_path):
    config = dataclasses.replace(CONFIGS["roberta-masked_lm"], vocab_size=400)
    vocabulary = ByteVocabulary()
    with pytest.raises(CheckpointError, match=r"pads with id 0, .*offset=1\)"):
        check_tokenizer(vocabulary, config, {})
    with pytest.raises(CheckpointError, match="pads with id 0"):
        export_folder(make_params(config), config, tmp_path / "out", vocabulary=vocabulary)
    assert not any(tmp_path.iterdir())
    config = dataclasses.replace(config, positions=LearnedPositions(offset=1))
    export_folder(make_params(config), config, tmp_path / "out", vocabulary=vocabulary)
    assert import_folder(tmp_path / "out")[0] == config


def test_layouts_by_hand():
    shapes = {"layers/q": (2, 3, 10), "layers/k": (2, 3, 5), "layers/out": (2, 10, 3), "b": (10,)}
    fused, out = ("layers/q", "layers/k"), ("layers/out",)
    rules = [conv1d("{}.qk", *fused), linear("{}.o", *out), vector("bias", "b")]
    tensors = {tensor.name: tensor for tensor in plan(rules, shapes)}
    assert list(tensors) == ["bias", "0.qk", "0.o", "1.qk", "1.o"]
    assert [tensors[name].shape for name in ("0.qk", "0.o", "bias")] == [(3, 15), (3, 10), (10,)]
    rng = np.random.default_rng(0)
    q, k, o = (rng.standard_normal(shapes[f"layers/{name}"][1:]) for name in ("q", "k", "out"))
    packed = tensors["1.qk"].pack([q, k])
    assert packed[2, 1 * 5 + 3] == q[2, 1 * 5 + 3]
    assert packed[2, 10 + 3] == k[2, 3]
    assert tensors["1.o"].pack([o])[2, 1 * 5 + 3] == o[1 * 5 + 3, 2]
    for tensor, values in ((tensors["1.qk"], [q, k]), (tensors["1.o"], [o])):
        for back, value in zip(tensor.unpack(tensor.pack(values)), values, strict=True):
            np.testing.assert_array_equal(back, value)


def test_rules_must_cover_the_model():
    with pytest.raises(ValueError, match="the rules cover"):
        plan([linear("a", "w")], {"w": (2, 3), "forgotten": (2,)})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "t5",
            {"positions": SinusoidalPositions()},
            r"T5ForCondit.*positions=SinusoidalPositions\(\) .only RelativePositions",
        ),
        (
            "t5",
            {"norm": LayerNorm(), "attention": AttentionConfig(biases="qkv", windows=(4, None))},
            r"does not have attention.windows=\(4, None\) .only \(None,\).; "
            r"norm=LayerNorm\(.*\) .only RMSNorm.; attention.biases='qkv' .only 'none'.$",
        ),
        ("t5", {"logit_scale": 0.5}, "logits scaled by 0.5 .only by 1"),
        ("t5", {"num_kv_heads": 1}, "num_kv_heads=1 .only one for each of 2 heads"),
        (
            "gpt2",
            {"parallel_block": True},
            "GPT2LMHeadModel, does not have parallel_block=True .only False",
        ),
        ("gpt2", {"head_dim": 5}, "num_heads=2 x head_dim=5 unlike embed_dim=8"),
        (
            "opt",
            {"norm": LayerNorm(epsilon=1e-6), "positions": LearnedPositions(offset=1)},
            r"positions=LearnedPositions\(offset=1\) .only LearnedPositions\(offset=0\)",
        ),
        (
            "llama",
            {"mlp": GatedMLP(activation="gelu_tanh")},
            r"LlamaForCausalLM, does not have mlp=GatedMLP\(activation='gelu_tanh', bias=False\)",
        ),
        ("t5", {"start_id": 2}, "start_id=2 .only 0"),
        (
            "t5gemma",
            {"encoder_sizes": StackSizes(embed_dim=6, mlp_dim=8, head_dim=2, num_heads=4)},
            "encoder_sizes.embed_dim=6, no multiple of encoder_sizes.num_heads=4",
        ),
        (
            "t5gemma",
            {"attention": AttentionConfig(scaled=True, windows=(3, 4))},
            r"T5GemmaForConditionalGeneration, does not have attention.windows=\(3, 4\) .only one width",
        ),
        (
            "roberta-masked_lm",
            {"mlp": PlainMLP(activation="gelu_tanh", bias=True)},
            r"BertForMaskedLM, does not have positions=LearnedPositions\(offset=3\)",
        ),
        (
            "modernbert",
            {"attention": AttentionConfig(scaled=True, windows=(None, 3, 4))},
            r"ModernBertForMaskedLM, does not have attention.windows=\(None, 3, 4\) .only one width",
        ),
        (
            "modernbert",
            {"head": "token_classification"},
            "head='token_classification' .only 'hidden' or 'masked_lm'",
        ),
        ("modernbert", {"first_norm": True}, "first_norm=True .only False"),
        (
            "mistral",
            {"attention": AttentionConfig(scaled=True, windows=(4, None))},
            r"LlamaForCausalLM, does not have attention.windows=\(4, None\)",
        ),
        ("bert-masked_lm", {"norm_placement": "pre"}, "BertForMaskedLM, does not have norm_placement='pre'"),
        ("bert-masked_lm", {"num_token_types": 0}, "num_token_types=0 .only 1 or more"),
    ],
)
def test_models_that_transformers_does_not_have(name, changes, message, tmp_path):
    config = dataclasses.replace(CONFIGS[name], **changes)
    with pytest.raises(UserError, match=message):
        export_folder({}, config, tmp_path / "out")
    assert fits(config) is not None
    assert fits(CONFIGS[name]) is None
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "gpt2",
            {"activation_function": "silu"},
            "activation_function='silu' is not supported; .* 'gelu_new'",
        ),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ("gpt2", {"architectures": ["GPT2ForSequenceClassification"]}, "architectures=.*'GPT2LMHeadModel'"),
        ("gpt2", {"tie_word_embeddings": "yes"}, "tie_word_embeddings='yes' must be true or false"),
        ("opt", {"enable_bias": False}, "enable_bias=False is not supported; allowed: True"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}},
            "rope_type='yarn' is not supported; allowed: 'default', 'linear', 'llama3'",
        ),
        ("llama", {"rope_parameters": None, "rope_scaling": {"type": "dynamic"}}, "rope_type='dynamic' is n"),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "factor=None must be a number"),
        ("llama", {"rope_parameters": [1]}, r"rope_parameters=\[1\] must be an object"),
        ("mistral", {"sliding_window": 0}, "sliding_window=0 must be 1 or more"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window=True is not supported; allowed: False"),
        ("qwen3", {"attention_bias": True}, "attention_bias=True is not supported"),
        ("llama", {"attention_bias": True}, "attention_bias=True is not supported"),
        ("t5gemma", {"pad_token_id": 3}, "pad_token_id=3 is not supported"),
        ("t5gemma", {"decoder": {"hidden_activation": "silu"}}, "decoder.hidden_activation='silu' is not"),
        ("t5gemma", {"encoder": {"attention_bias": True}}, "encoder.attention_bias=True is not supported"),
        (
            "t5gemma",
            {"encoder": {"rope_parameters": {"rope_type": "yarn"}}},
            "encoder.rope_parameters.rope_type='yarn' is not supported; allowed: 'default'",
        ),
        ("t5gemma", {"encoder": {"rms_norm_eps": 0.5}}, "encoder.rms_norm_eps=0.5 and decoder.* differ"),
        ("t5gemma", {"encoder": {"sliding_window": 5}}, "do not follow one pattern"),
        ("t5gemma", {"decoder": {"layer_types": ["chunked_attention"] * 2}}, "layer_types=.*'chunked"),
        (
            "bert-pooled",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type='relative_key'",
        ),
        ("bert-pooled", {"is_decoder": True}, "is_decoder=True"),
        (
            "bert-pooled",
            {"architectures": ["BertForQuestionAnswering"]},
            "neither a classifier nor qa_outputs",
        ),
        ("bert-masked_lm", {"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        (
            "roberta-masked_lm",
            {"hidden_act": "gelu_new"},
            "hidden_act='gelu_new' is not supported; allowed: 'gelu'",
        ),
        ("roberta-hidden", {"max_position_embeddings": 3}, "max_position_embeddings=3 must be 4 or more"),
        (
            "roberta-sequence_classification",
            {"problem_type": "regression"},
            "problem_type='regression' is not supported: .*AutoModel",
        ),
        (
            "modernbert-hidden",
            {"architectures": ["ModernBertForSequenceClassification"]},
            r"ModernBertForSequenceClassification.*; the others put .* AutoModel\.from_pretrained",
        ),
        ("modernbert", {"decoder_bias": False}, "decoder_bias=False is not supported"),
        ("modernbert", {"classifier_activation": "silu"}, "classifier_activation='silu' is not supported"),
        ("modernbert", {"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types=.* must be a list of num_hidden_l"),
        (
            "modernbert",
            {"layer_types": ["full_attention"] * 5 + ["chunked_attention"]},
            "layer_types='chunked_attention' is not supported",
        ),
        (
            "modernbert",
            {"num_hidden_layers": 10**9, "global_attn_every_n_layers": 10**9},
            "global_attn_every_n_layers=1000000000 must be 1000 or less",
        ),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
            "rope_type='yarn', which changes",
        ),
        (
            "modernbert",
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_type='linear', which changes",
        ),
        ("gpt2", {"model_type": "mamba"}, "model_type='mamba' is not supported; allowed: 't5', .* 'llama'"),
    ],
)
def test_unsupported_values_are_refused_by_key(name, changes, message, tmp_path):
    exported(name, tmp_path / "out")
    change_json(tmp_path / "out", **changes)
    with pytest.raises(UserError, match=message):
        import_folder(tmp_path / "out")


def test_transformers_4_writes_the_rotary_base_elsewhere(tmp_path):
    config, _ = exported("llama", tmp_path / "out")
    change_json(tmp_path / "out", rope_parameters=None, rope_scaling=None)
    assert import_folder(tmp_path / "out")[0] == config


@pytest.mark.parametrize(
    ("name", "prefix", "head"),
    [
        ("gpt2", "transformer.", ""),
        ("bert-pretraining", "bert.", "cls."),
        ("llama", "model.", "lm_head."),
        ("t5gemma", "model.", "lm_head."),
    ],
)
def test_names_without_the_prefix(name, prefix, head, tmp_path):
    """As published GPT-2s have them, which were saved without their head."""
    _, params = exported(name, tmp_path / "out")

    def strip(tensors: dict[str, np.ndarray]) -> None:
        for key in list(tensors):
            assert key.startswith((prefix, head))
            tensors[key.removeprefix(prefix)] = tensors.pop(key)

    change_tensors(tmp_path / "out", strip)
    assert_same(import_folder(tmp_path / "out")[1], params)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("gpt2", {"transformer.h.1.attn.bias": np.ones((1, 1, 6, 6), np.bool_)}),
        ("gpt2", {"transformer.h.0.attn.masked_bias": np.array(-1e4, np.float32)}),
        ("bert-pooled", {"embeddings.position_ids": np.arange(6)[None]}),
        ("llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}),
        (
            "t5",
            {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": np.ones((32, 2), "f")},
        ),
    ],
)
def test_known_buffers_are_left_out(name, extra, tmp_path):
    _, params = exported(name, tmp_path / "out")
    change_tensors(tmp_path / "out", lambda tensors: tensors.update(extra))
    assert_same(import_folder(tmp_path / "out")[1], params)


def test_old_names_of_bert_norms(tmp_path):
    _, params = exported("bert-masked_lm", tmp_path / "out")

    def rename(tensors: dict[str, np.ndarray]) -> None:
        for key in list(tensors):
            old = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )
            tensors[old] = tensors.pop(key)

    change_tensors(tmp_path / "out", rename)
    assert_same(import_folder(tmp_path / "out")[1], params)


@pytest.mark.parametrize(
    ("name", "copy", "original"),
    [
        ("gpt2", "lm_head.weight", "transformer.wte.weight"),
        ("bert-masked_lm", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("bert-masked_lm", "cls.predictions.decoder.bias", "cls.predictions.bias"),
    ],
)
def test_copies_must_be_copies(name, copy, original, tmp_path):
    _, params = exported(name, tmp_path / "out")
    change_tensors(tmp_path / "out", lambda tensors: tensors.update({copy: tensors[original]}))
    assert_same(import_folder(tmp_path / "out")[1], params)
    change_tensors(tmp_path / "out", lambda tensors: tensors.update({copy: tensors[original] + 1}))
    with pytest.raises(CheckpointError, match=f"{copy} differs from {original}"):
        import_folder(tmp_path / "out")


def test_a_pooler_that_a_masked_lm_does_not_read_is_dropped_by_name(tmp_path, caplog):
    exported("bert-masked_lm", tmp_path / "out")
    extra = {"bert.pooler.dense.weight": np.ones((8, 8), "f"), "bert.pooler.dense.bias": np.ones(8, "f")}
    change_tensors(tmp_path / "out", lambda tensors: tensors.update(extra))
    assert import_folder(tmp_path / "out")[0] == CONFIGS["bert-masked_lm"]
    assert "dropped 2 trained tensors, which" in caplog.text
    assert "bert.pooler.dense.bias, bert.pooler.dense.weight" in caplog.text


@pytest.mark.parametrize("name", CONFIGS)
def test_missing_extra_and_misshapen_tensors_are_listed(name, tmp_path):
    exported(name, tmp_path / "out")
    missing, misshapen = [], []

    def spoil(tensors: dict[str, np.ndarray]) -> None:
        first, *_, last = sorted(key for key in tensors if "1" in key)
        missing.append((first, tensors.pop(first).shape))
        misshapen.append((last, tensors[last].shape))
        tensors[last] = np.zeros((7, 7, 7), np.float32)
        tensors["adapter.weight"] = np.zeros((2, 3), np.float32)

    change_tensors(tmp_path / "out", spoil)
    with pytest.raises(CheckpointError) as error:
        import_folder(tmp_path / "out")
    assert f"{missing[0][0]} {missing[0][1]}" in str(error.value)
    assert "adapter.weight (2, 3)" in str(error.value)
    assert f"{misshapen[0][0]} (7, 7, 7) instead of {misshapen[0][1]}" in str(error.value)


class TestPytorchFiles:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        exported("gpt2", tmp_path / "out")
        return tmp_path / "out"

    def to_bin(self, folder: Path) -> dict[str, torch.Tensor]:
        tensors = {k: torch.from_numpy(v) for k, v in load_file(folder / "model.safetensors").items()}
        (folder / "model.safetensors").unlink()
        torch.save(tensors, folder / "pytorch_model.bin")
        return tensors

    def test_shards_with_an_index(self, folder):
        expected = import_folder(folder)[1]
        tensors = self.to_bin(folder)
        (folder / "pytorch_model.bin").unlink()
        files = {name: f"pytorch_model-{i % 2 + 1:05d}-of-00002.bin" for i, name in enumerate(tensors)}
        for file in set(files.values()):
            torch.save({k: v.bfloat16() for k, v in tensors.items() if files[k] == file}, folder / file)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
        params = import_folder(folder)[1]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2), params, expected)

    def test_without_pytorch_the_remedy_is_said(self, folder, monkeypatch):
        self.to_bin(folder)
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(UserError, match="needs PyTorch to be read safely, and it is not installed; `pip"):
            import_folder(folder)

    def test_code_in_a_pickle_is_not_run(self, folder, tmp_path):
        self.to_bin(folder)

        class Malicious:
            def __reduce__(self) -> Any:
                return (Path.touch, (tmp_path / "run",))

        torch.save({"a": Malicious()}, folder / "pytorch_model.bin", pickle_module=pickle)
        with pytest.raises(CheckpointError, match="holds more than tensors and was not loaded"):
            import_folder(folder)
        assert not (tmp_path / "run").exists()

    def test_damage_and_other_contents(self, folder):
        self.to_bin(folder)
        content = (folder / "pytorch_model.bin").read_bytes()
        for damaged in (b"", content[:100], content[: len(content) // 2]):
            (folder / "pytorch_model.bin").write_bytes(damaged)
            with pytest.raises(CheckpointError, match=r"pytorch_model\.bin (is damaged|holds more)"):
                import_folder(folder)
        torch.save([torch.zeros(3)], folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match="is not a dict of tensors by name"):
            import_folder(folder)


@pytest.mark.parametrize(
    ("name", "width", "heads"),
    [
        ("gpt2", "n_embd", "n_head"),
        ("bert-hidden", "hidden_size", "num_attention_heads"),
        ("opt", "hidden_size", "num_attention_heads"),
        ("llama", "hidden_size", "num_attention_heads"),
    ],
)
def test_heads_must_be_there_and_share_the_width(name, width, heads, tmp_path):
    exported(name, tmp_path / "out")
    change_json(tmp_path / "out", head_dim=None, **{heads: 0})
    with pytest.raises(CheckpointError, match=rf"config\.json: {heads}=0 must be 1 or more"):
        import_folder(tmp_path / "out")
    change_json(tmp_path / "out", **{heads: 3})
    with pytest.raises(CheckpointError, match=rf"config\.json: {width}=8 is not a multiple of {heads}=3"):
        import_folder(tmp_path / "out")
