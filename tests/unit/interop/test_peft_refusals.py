"""Adapters of PEFT that have no counterpart here: refused by name, with what to do."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from t5lite.adapters import AdaptedModel, LoRA, PromptTuning
from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.peft import export_folder, read_adapter
from t5lite.models.functional import build
from tests.unit.interop.huggingface_families import CONFIGS

T5 = CONFIGS["t5"]
QUERY = "base_model.model.encoder.block.0.layer.0.SelfAttention.q"


def write(folder: Path, tensors: dict[str, np.ndarray] | None = None, **content: Any) -> Path:
    described = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "use_dora": False, **content}
    (folder / "adapter_config.json").write_text(json.dumps(described))
    pair = {"A": np.ones((2, 8), "f"), "B": np.ones((8, 2), "f")}
    own = {f"{QUERY}.lora_{name}.weight": array for name, array in pair.items()}
    save_file({**own, **(tensors or {})}, folder / "adapter_model.safetensors")
    return folder


def test_what_says_nothing_is_read(tmp_path):
    updates = read_adapter(write(tmp_path, modules_to_save=None, loftq_config={}, new_key=False), T5)
    assert [*updates.factors] == ["encoder/layers/self_attention/query"]
    assert (updates.rank, updates.scale) == (2, 2.0)


@pytest.mark.parametrize("targets", [("*attention/*",), ("*attention/query", "*attention/value")])
def test_an_export_of_kernels_that_are_one_module_there_comes_back_as_it_was(targets, tmp_path):
    """Of the full rank of each kernel, so that the module's is more than any of them can have."""
    model = build(CONFIGS["gpt2"])
    adapter, rng = LoRA(rank=8, alpha=4.0, targets=targets), np.random.default_rng(0)
    values = {
        "/".join(kernel.path): tuple(
            rng.standard_normal((*kernel.shape[:-2], *size)).astype(np.float32)
            for size in ((kernel.shape[-2], 8), (8, kernel.shape[-1]))
        )
        for kernel in adapter.kernels(model)
    }
    applied = adapter.applied(model, model.abstract_params, adapter.own_params(values), None)
    export_folder(applied, model.config, tmp_path)
    described = json.loads((tmp_path / "adapter_config.json").read_text())
    assert max(described["r"], *described["rank_pattern"].values(), 0) >= 16
    found = read_adapter(tmp_path, model.config)
    assert (found.rank, found.scale, found.without) == (8, 0.5, ())
    assert found.factors.keys() == values.keys()
    for path, pair in values.items():
        for ours, theirs in zip(found.factors[path], pair, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_rank_that_a_kernel_here_cannot_have(tmp_path):
    pair = {"A": np.ones((9, 8), "f"), "B": np.ones((8, 9), "f")}
    tensors = {f"{QUERY}.lora_{name}.weight": array for name, array in pair.items()}
    with pytest.raises(UserError, match=r"rank 9, .*query has of 8 inputs .*merge it .*import that"):
        read_adapter(write(tmp_path, tensors), T5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"peft_type": "IA3"},
            r"peft_type='IA3' is not supported; allowed: .*'PROMPT_TUNING'; merge it",
        ),
        ({"use_dora": True}, r"use_dora=True is not supported; .*merge_and_unload"),
        ({"bias": "all"}, r"bias='all' is not supported; allowed: 'none'"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\] is not supported"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights='pissa' is not supported; allowed: True, False"),
        ({"layer_replication": [[0, 1]]}, r"layer_replication=\[\[0, 1\]\] is not supported"),
        ({"of_next_year": 1}, r"of_next_year=1 is not supported"),
        ({"lora_alpha": "4"}, r"^adapter_config\.json: lora_alpha='4' must be a number"),
        ({"lora_alpha": 0}, r"^adapter_config\.json: lora_alpha=0.* at a rank of 2 .*must be above 0"),
        ({"alpha_pattern": ["q"]}, r"^adapter_config\.json: alpha_pattern=\['q'\] must be an object"),
        ({"alpha_pattern": {"q": None}}, r"^adapter_config\.json: alpha_pattern\.q=None must be a number"),
        ({"alpha_pattern": {"*.q": 4}}, r"^adapter_config\.json: .*'\*\.q', .*nothing to repeat.*correct"),
    ],
)
def test_a_configuration_that_means_something_else(content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_adapter(write(tmp_path, **content), T5)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("base_model.model.shared.lora_embedding_A", (2, 12), r"1 tensors that adapt no kernel .*shared"),
        (f"{QUERY.replace('block.0', 'block.9')}.lora_A.weight", (2, 8), r"adapt no kernel .*block\.9"),
        (f"{QUERY}.lora_B.bias", (8,), r"adapt no kernel of the base: .*lora_B\.bias"),
        (f"{QUERY}.lora_A.weight", (2, 9), r"wrong shape: .*q\.lora_A \(2, 9\) instead of \(2, 8\)"),
        (f"{QUERY[:-1]}k.lora_A.weight", (2, 8), r"missing: encoder.*k\.lora_B"),
    ],
)
def test_tensors_that_the_base_has_no_kernel_for(name, shape, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_adapter(write(tmp_path, {name: np.ones(shape, "f")}), T5)


def test_values_that_are_not_finite(tmp_path):
    with pytest.raises(UserError, match=r"1 holds NaN or infinity: .*q\.lora_A \(16 NaN\)"):
        read_adapter(write(tmp_path, {f"{QUERY}.lora_A.weight": np.full((2, 8), np.nan, "f")}), T5)


def write_prompt(folder: Path, shape: tuple[int, ...] = (2, 8), **content: Any) -> Path:
    said = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2, **content}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    save_file({"prompt_embeddings": np.ones(shape, "f")}, folder / "adapter_model.safetensors")
    return folder


def test_a_prompt_of_an_encoder_decoder_has_rows_for_the_decoder_that_peft_does_not_read(tmp_path):
    tokens = read_adapter(write_prompt(tmp_path, (4, 8), task_type="SEQ_2_SEQ_LM"), T5)
    assert (tokens.prompt_PD.shape, tokens.num_unread) == ((2, 8), 2)


@pytest.mark.parametrize(
    ("shape", "content", "message"),
    [
        ((2, 8), {"num_virtual_tokens": 0}, r"num_virtual_tokens=0 must be 1 or more"),
        ((2, 8), {"num_virtual_tokens": None}, r"num_virtual_tokens=None must be an integer"),
        (
            (2, 8),
            {"num_virtual_tokens": 3},
            r"its base; wrong shape: .* \(2, 8\) instead of \(3, 8\)",
        ),
        ((2, 9), {}, r"wrong shape: prompt_embeddings \(2, 9\) instead of \(2, 8\)"),
        (
            (2, 8),
            {"task_type": "SEQ_2_SEQ_LM"},
            r"is not of .* decoder_only, .*'CAUSAL_LM'; give",
        ),
        (
            (2, 8),
            {"modules_to_save": ["lm_head"]},
            r"modules_to_save=\['lm_head'\] is .*train the prompt",
        ),
    ],
)
def test_a_prompt_that_cannot_be_here(shape, content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_adapter(write_prompt(tmp_path, shape, **content), CONFIGS["gpt2"])


def test_a_prompt_without_its_table_or_with_other_tensors(tmp_path):
    folder = write_prompt(tmp_path)
    weights = folder / "adapter_model.safetensors"
    save_file({"prompt_embeddings": np.ones((2, 8), "f"), "x": np.ones(1, "f")}, weights)
    with pytest.raises(UserError, match=r"1 tensors besides prompt_embeddings: x, .*train the prompt anew"):
        read_adapter(folder, CONFIGS["gpt2"])
    save_file({}, weights)
    with pytest.raises(UserError, match=r"missing: prompt_embeddings"):
        read_adapter(folder, CONFIGS["gpt2"])
    weights.unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors"):
        read_adapter(folder, CONFIGS["gpt2"])


def test_a_prompt_that_is_not_finite_is_not_exported(tmp_path):
    model, adapter = build(CONFIGS["gpt2"]), PromptTuning(num_tokens=2, initialization="random")
    own = adapter.own_params(np.array([[np.nan] * 8, [1.0] * 8], np.float32))
    with pytest.raises(
        CheckpointError, match=r"1 holds NaN or infinity: prompt \(8 NaN\); export an earlier"
    ):
        export_folder(adapter.alone(model, model.abstract_params, own, {}), model.config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_prompt_has_no_place_for_there(tmp_path):
    """A table narrower than the layers, where PEFT has virtual tokens elsewhere; what was trained besides."""
    adapter = PromptTuning(num_tokens=2, initialization="random")
    narrow = AdaptedModel.of(build(dataclasses.replace(CONFIGS["gpt2"], table_dim=4)), adapter)
    base, own = narrow.base.abstract_params, adapter.own_params(np.ones((2, 8), np.float32))
    with pytest.raises(UserError, match="table is 4 wide and its layers are 8"):
        export_folder(adapter.alone(narrow.base, base, own, {}), narrow.base.config, tmp_path / "out")
    model = build(CONFIGS["gpt2"])
    params = {**model.abstract_params, "token_embedder": {"embedding": np.ones(1)}}
    with pytest.raises(UserError, match=r"beside a prompt for .*: token_embedder/embedding; evaluate"):
        export_folder(adapter.alone(model, params, own, {}), model.config, tmp_path / "out")
