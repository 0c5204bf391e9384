"""Adapters of PEFT that have no counterpart here: refused by name, with what to do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from t5lite.core.errors import UserError
from t5lite.interop.peft import read_updates
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
    updates = read_updates(write(tmp_path, modules_to_save=None, loftq_config={}, new_key=False), T5)
    assert [*updates.factors] == ["encoder/layers/self_attention/query"]
    assert (updates.rank, updates.scale) == (2, 2.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"peft_type": "IA3"}, r"peft_type='IA3' is not supported; allowed: 'LORA'; merge it"),
        ({"use_dora": True}, r"use_dora=True is not supported; .*merge_and_unload"),
        ({"bias": "all"}, r"bias='all' is not supported; allowed: 'none'"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save=\['lm_head'\] is not supported"),
        ({"init_lora_weights": "pissa"}, r"init_lora_weights='pissa' is not supported; allowed: True, False"),
        ({"layer_replication": [[0, 1]]}, r"layer_replication=\[\[0, 1\]\] is not supported"),
        ({"of_next_year": 1}, r"of_next_year=1 is not supported"),
    ],
)
def test_a_configuration_that_means_something_else(content, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_updates(write(tmp_path, **content), T5)


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
        read_updates(write(tmp_path, {name: np.ones(shape, "f")}), T5)


def test_values_that_are_not_finite(tmp_path):
    with pytest.raises(UserError, match=r"1 holds NaN or infinity: .*q\.lora_A \(16 NaN\)"):
        read_updates(write(tmp_path, {f"{QUERY}.lora_A.weight": np.full((2, 8), np.nan, "f")}), T5)
