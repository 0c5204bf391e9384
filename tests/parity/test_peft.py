"""Adapters out to Hugging Face's peft and back: what it computes with them is computed here."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from t5lite.adapters import AdaptedModel, LoRA, PromptTuning
from t5lite.adapters.base import united
from t5lite.core.errors import UserError
from t5lite.interop.huggingface import export_folder
from t5lite.interop.peft import export_folder as export_adapter
from t5lite.interop.peft import read_adapter
from t5lite.models.config import ModelConfig
from t5lite.models.functional import build
from t5lite.optim.trained import merged as with_leaves
from t5lite.optim.trained import resolve_trained
from tests.parity.test_huggingface_logits import VOCAB, assert_same_outputs, make_batch
from tests.unit.interop.huggingface_families import CONFIGS, make_params

pytestmark = [
    pytest.mark.slow,
    # peft 0.21 asks transformers 5.24 by the older name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

EVERYTHING = LoRA(rank=3, alpha=7.0, targets=("*",), rank_stabilized=True)
CASES: dict[str, tuple[LoRA, dict[str, Any]]] = {
    "t5": (LoRA(rank=2), {"r": 2, "lora_alpha": 16, "target_modules": ["q", "v"], "rank_pattern": {}}),
    # One module there has what are three kernels here, and of its three one is left as it is.
    "gpt2": (
        LoRA(rank=2, alpha=3.0, targets=("*attention", "*/mlp", "!*/key")),
        {
            "target_modules": ["c_attn", "c_proj", "c_fc"],
            "rank_pattern": {"c_attn": 4},
            "fan_in_fan_out": True,
        },
    ),
    "llama": (EVERYTHING, {"r": 3, "use_rslora": False, "task_type": "CAUSAL_LM"}),
    "bert-masked_lm": (LoRA(rank=2, targets=("encoder/layers/mlp",)), {"task_type": None}),
    # Attention's three and the two of a gated MLP are one there each.
    "modernbert": (EVERYTHING, {"rank_pattern": {"Wqkv": 9, "Wi": 6}}),
}


def of_case(name: str) -> ModelConfig:
    changes = {} if name == "t5" else {"max_length": 11}
    return dataclasses.replace(CONFIGS[name], vocab_size=VOCAB, **changes)


def adapted(config: ModelConfig, adapter: LoRA) -> tuple[Any, Any, Any]:
    """Return a model's parameters, those of an adapter with nothing left at zero, and both merged."""
    model = AdaptedModel.of(build(config), adapter)
    params = jax.tree.map(lambda leaf: 0.4 * leaf, make_params(config))
    rng = np.random.default_rng(5)
    own = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), jnp.float32),
        model.apart(model.abstract_params)[1],
    )
    return params, own, model.merged(united(params, own))


def written(
    config: ModelConfig, adapter: LoRA, own: Any, folder: Path, *, besides: Any = None
) -> dict[str, Any]:
    base = build(config)
    known = with_leaves(base.abstract_params, besides or {})
    export_adapter(adapter.applied(base, known, own, None), config, folder)
    return json.loads((folder / "adapter_config.json").read_text())


def their_model(folder: Path) -> Any:
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    return getattr(transformers, name).from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize("case", CASES)
def test_peft_computes_with_an_exported_adapter_what_the_merged_model_does(case, tmp_path):
    config, (adapter, said) = of_case(case), CASES[case]
    params, own, merged = adapted(config, adapter)
    export_folder(params, config, tmp_path / "base")
    described = written(config, adapter, own, tmp_path / "adapter")
    assert {name: described[name] for name in said} == said
    model = peft.PeftModel.from_pretrained(their_model(tmp_path / "base"), tmp_path / "adapter")
    found = peft.get_peft_model_state_dict(model)
    assert found.keys() == load_file(tmp_path / "adapter" / "adapter_model.safetensors").keys()
    assert_same_outputs(model, config, merged)
    with model.disable_adapter():
        assert_same_outputs(model, config, params)


def test_a_head_that_is_trained_whole_besides_is_one_of_the_modules_to_save(tmp_path):
    config, adapter = of_case("bert-sequence_classification"), LoRA(rank=2)
    params, own, merged = adapted(config, adapter)
    export_folder(params, config, tmp_path / "base")
    head = {"classifier": jax.tree.map(lambda leaf: leaf + 1, params["classifier"])}
    described = written(config, adapter, own, tmp_path / "adapter", besides=head)
    assert described["modules_to_save"] == ["classifier"]
    model = peft.PeftModel.from_pretrained(their_model(tmp_path / "base"), tmp_path / "adapter")
    assert_same_outputs(model, config, {**merged, **head})


@pytest.mark.parametrize("besides", ["decoder/positions", "token_embedder", "*/query_bias"])
def test_what_peft_has_no_place_for_is_refused_by_name(besides, tmp_path):
    """Positions alone are a module; a table that makes logits too, and one bias of a module, are not."""
    config, adapter = of_case("gpt2"), LoRA(rank=2)
    params, own, _ = adapted(config, adapter)
    trained = resolve_trained((besides,), (), params).part(params)
    if besides == "decoder/positions":
        described = written(config, adapter, own, tmp_path / "adapter", besides=trained)
        assert described["modules_to_save"] == ["transformer.wpe"]
        return
    name = "transformer.wte" if besides == "token_embedder" else "transformer.h.0.attn.c_attn"
    with pytest.raises(UserError, match=rf"no place for .* whole of {name}.*--format huggingface"):
        written(config, adapter, own, tmp_path / "adapter", besides=trained)


ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("t5", {"target_modules": "all-linear", "use_rslora": True}),
    "of-ranks": (
        "t5",
        {
            "target_modules": ["q", "wo", "o"],
            "rank_pattern": {"wo": 1, r"decoder.block.0.*\.q": 3},
            "alpha_pattern": {"wo": 5, r"decoder.*\.o": 0.5},
            "layers_to_transform": [0],
        },
    ),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "mlp.c_proj"], "fan_in_fan_out": True}),
    "llama": ("llama", {"target_modules": ["q_proj", "v_proj", "gate_proj"], "lora_dropout": 0.25}),
    "bert": ("bert-masked_lm", {"target_modules": ["query", "output.dense"]}),
    "modernbert": ("modernbert", {"target_modules": ["Wqkv", "Wi", "Wo"]}),
}


def saved_adapter(base: Path, folder: Path, **fields: Any) -> Any:
    """Save an adapter with peft, nothing of it at zero, and return the model."""
    torch.manual_seed(0)
    model = peft.get_peft_model(their_model(base), peft.LoraConfig(**{"r": 2, "lora_alpha": 3, **fields}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_that_peft_saved_computes_here_what_it_does_there(case, tmp_path):
    name, fields = ADAPTERS[case]
    config, (params, _, _) = of_case(name), adapted(of_case(name), LoRA(rank=1))
    export_folder(params, config, tmp_path / "base")
    theirs = saved_adapter(tmp_path / "base", tmp_path / "adapter", **fields)
    updates = read_adapter(tmp_path / "adapter", config)
    assert updates.dropout == fields.get("lora_dropout", 0)
    assert len(updates.without) == {"of-ranks": 5}.get(case, 0)
    adapter = LoRA(rank=updates.rank, alpha=updates.scale * updates.rank, targets=tuple(updates.factors))
    merged = AdaptedModel.of(build(config), adapter).merged(
        united(params, adapter.own_params(updates.factors))
    )
    assert_same_outputs(theirs, config, merged)


NUM = 3
PROMPTED = {
    "t5": ("vocabulary", "SEQ_2_SEQ_LM"),
    # Its encoder has a table of its own, whose rows are multiplied behind the prompt.
    "t5gemma": ("vocabulary", "SEQ_2_SEQ_LM"),
    "gpt2": ("vocabulary", "CAUSAL_LM"),
    "mistral": ("random", "CAUSAL_LM"),
}


def assert_same_behind_prompts(theirs: Any, model: AdaptedModel, params: Any) -> None:
    """Compare logits at every token that is not padding, to 1e-4 absolute; peft's are behind the prompt."""
    ours, given = make_batch(model.config)
    with torch.no_grad():
        expected = theirs.eval()(**given).logits.numpy()
    got = np.asarray(jax.jit(lambda params, batch: model.bind(params)(batch))(params, ours))
    if model.config.architecture == "decoder_only":
        seen = given["attention_mask"].numpy().astype(bool)
        got, expected = got[seen], expected[:, NUM:][seen]
    assert expected.std() > 0.1
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", PROMPTED)
def test_peft_computes_with_a_prompt_what_is_computed_here_and_it_comes_back(name, tmp_path):
    initialization, task = PROMPTED[name]
    config, adapter = of_case(name), PromptTuning(num_tokens=NUM, initialization=initialization)
    model = AdaptedModel.of(build(config), adapter)
    params = jax.tree.map(lambda leaf: 0.4 * leaf, make_params(config))
    shape = (NUM, config.stacks[0].embed_dim)
    own = adapter.own_params(np.random.default_rng(5).standard_normal(shape).astype(np.float32))
    export_folder(params, config, tmp_path / "base")
    read = {path.split("/")[0]: params[path.split("/")[0]] for path in adapter.read_for_alone(model.base)}
    alone = adapter.alone(model.base, model.base.abstract_params, own, read)
    export_adapter(alone, config, tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(their_model(tmp_path / "base"), tmp_path / "adapter")
    assert theirs.active_peft_config.task_type == task
    assert_same_behind_prompts(theirs, model, united(params, own))
    theirs.save_pretrained(tmp_path / "again")
    back = PromptTuning(num_tokens=NUM, initialization="random")
    own = back.own_params(read_adapter(tmp_path / "again", config).prompt_PD)
    assert_same_behind_prompts(theirs, AdaptedModel.of(model.base, back), united(params, own))
