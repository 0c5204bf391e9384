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
from huggingface_families import (
    CONFIGS,
    assert_same,
    change_json,
    change_tensors,
    exported,
    make_params,
)
from safetensors.numpy import load_file

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
    LearnedPositions,
)
from t5lite.models.functional import build
from t5lite.models.presets import PRESETS, preset

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(("name", "is_said"), [("modernbert", False), ("modernbert-hidden", True)])
def test_a_pattern_that_transformers_4_cannot_say_is_said(name, is_said, tmp_path):
    export = export_folder(make_params(CONFIGS[name]), CONFIGS[name], tmp_path / "out")
    assert ("by transformers 5 only: 4 does not read layer_types" in export.after_loading) == is_said
    values = json.loads((tmp_path / "out/config.json").read_text())
    assert ("global_attn_every_n_layers" in values) != is_said
