"""What people bring: wrapped names, folders of 2019, adapters, buffers, heads, sizes out of range, NaN."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop import FORMATS
from t5lite.interop.huggingface import (
    export_folder,
    import_folder,
    params_from_state_dict,
    state_dict_from_params,
)
from t5lite.interop.huggingface import stored_tensors as stored
from t5lite.interop.huggingface.families import family_of
from t5lite.interop.huggingface.stored_tensors import from_arrays
from t5lite.interop.huggingface.tensor_names import canonical_names
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, ModelConfig
from t5lite.models.functional import build

_SIZES: dict[str, Any] = {"vocab_size": 12, "embed_dim": 8, "mlp_dim": 10, "head_dim": 4, "num_heads": 2}
_BERT: dict[str, Any] = {**_SIZES, "num_layers": 2, "max_length": 6, "dropout_rate": 0.1}
_GPT2: dict[str, Any] = {
    **_SIZES,
    "num_layers": 2,
    "positions": "learned",
    "max_length": 6,
    "norm": "layer",
    "mlp_activation": "gelu_tanh",
    "biases": True,
    "tie_embeddings": True,
    "initializer": "scaled_normal",
    "dropout_rate": 0.1,
}
CONFIGS: dict[str, ModelConfig] = {
    "t5": EncoderDecoderConfig(**_SIZES, num_encoder_layers=1, num_decoder_layers=2, dropout_rate=0.1),
    "bert": EncoderOnlyConfig(**_BERT, head="pretraining"),
    "classifier": EncoderOnlyConfig(**_BERT, head="sequence_classification", num_labels=3),
    "gpt2": DecoderOnlyConfig(**_GPT2),
    "llama": DecoderOnlyConfig(**_SIZES, num_layers=2),
}


def make_params(config: ModelConfig) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), build(config).abstract_params
    )


@functools.cache
def state_dict(name: str) -> dict[str, np.ndarray]:
    return state_dict_from_params(make_params(CONFIGS[name]), CONFIGS[name])


def exported(name: str, folder: Path) -> Any:
    params = make_params(CONFIGS[name])
    export_folder(params, CONFIGS[name], folder)
    return params


def change_json(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v != "absent"}))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.fixture
def no_weights_read(monkeypatch) -> None:
    """Every value that is read fails the test: what is refused is refused by what headers say."""

    def read(*_: Any) -> None:
        pytest.fail("a tensor was read")

    monkeypatch.setattr(stored.Stored, "whole", property(read))
    monkeypatch.setattr(stored, "read_entry", read)


@given(
    name=st.sampled_from(sorted(CONFIGS)),
    outside=st.lists(st.sampled_from(["_orig_mod", "module"]), max_size=3),
    part=st.sampled_from(["h", "layer", "block", "encoder", "layers", "dense"]),
    inside=st.lists(st.sampled_from(["_orig_mod", "module", "_checkpoint_wrapped_module"]), max_size=3),
)
@settings(deadline=None, max_examples=60)
def test_wrappers_are_left_out_of_names_wherever_they_stand(name, outside, part, inside):
    """torch.compile and DataParallel in either order, around the whole or around its parts."""
    family = family_of(CONFIGS[name])
    plain = state_dict(name)

    def wrapped(tensor: str) -> str:
        parts = [each for own in tensor.split(".") for each in ([own, *inside] if own == part else [own])]
        return ".".join([*outside, *parts])

    found = canonical_names(from_arrays({wrapped(key): value for key, value in plain.items()}), family)
    expected = canonical_names(from_arrays(plain), family)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key].whole, expected[key].whole) for key in found)


@pytest.mark.parametrize("name", ["t5", "bert"])
@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module._orig_mod."])
def test_a_folder_of_a_compiled_model(name, wrapper, tmp_path, caplog):
    params = exported(name, tmp_path)

    def wrap(tensors: dict[str, np.ndarray]) -> None:
        for key in list(tensors):
            tensors[wrapper + key] = tensors.pop(key)

    change_tensors(tmp_path, wrap)
    with caplog.at_level("INFO"):
        assert_same(import_folder(tmp_path)[1], params)
    left_out = ", ".join(sorted(set(wrapper.split(".")) - {""}))
    assert f"left {left_out} out of {len(state_dict(name))} names" in caplog.text


def test_wrapped_and_plain_names_of_one_tensor_are_refused(tmp_path):
    exported("gpt2", tmp_path)
    key = "transformer.wte.weight"
    change_tensors(tmp_path, lambda tensors: tensors.update({f"module.{key}": tensors[key]}))
    with pytest.raises(
        CheckpointError, match=rf"module\.{key} and {key}|{key} and module\.{key} are two names"
    ):
        import_folder(tmp_path)


# The content of bert-base-uncased's config.json in 2019, and of gpt2's, in a small size.
BERT_2019 = {
    "architectures": ["BertForMaskedLM"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 8,
    "initializer_range": 0.02,
    "intermediate_size": 10,
    "max_position_embeddings": 6,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": 12,
}
GPT2_2019 = {
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "n_ctx": 6,
    "n_embd": 8,
    "n_head": 2,
    "n_inner": 10,
    "n_layer": 2,
    "n_positions": 6,
    "vocab_size": 12,
}


@pytest.mark.parametrize("architectures", [["BertForMaskedLM"], None, "absent"])
def test_a_bert_folder_of_2019(architectures, tmp_path):
    """No model_type, norms named gamma and beta, the decoder beside the table, in pytorch_model.bin."""
    params = exported("bert", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    renamed = {
        re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", name)):
        torch.from_numpy(value)
        for name, value in tensors.items()
    }  # fmt: skip
    torch.save(renamed, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    values = {k: v for k, v in {**BERT_2019, "architectures": architectures}.items() if v != "absent"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    config, imported = import_folder(tmp_path)
    assert config == CONFIGS["bert"]
    assert_same(imported, params)


def test_a_gpt2_folder_of_2019(tmp_path):
    """No model_type, no prefix, and the causal masks among the tensors."""
    params = exported("gpt2", tmp_path)

    def as_published(tensors: dict[str, np.ndarray]) -> None:
        for key in list(tensors):
            tensors[key.removeprefix("transformer.")] = tensors.pop(key)
        for i in range(2):
            tensors[f"h.{i}.attn.bias"] = np.tril(np.ones((6, 6), np.float32))[None, None]
            tensors[f"h.{i}.attn.masked_bias"] = np.array(-np.inf, np.float32)

    change_tensors(tmp_path, as_published)
    (tmp_path / "config.json").write_text(json.dumps(GPT2_2019))
    config, imported = import_folder(tmp_path)
    assert config == CONFIGS["gpt2"]
    assert_same(imported, params)


def test_without_model_type_and_marks_of_any(tmp_path):
    exported("llama", tmp_path)
    change_json(tmp_path, model_type=None)
    with pytest.raises(UserError, match=r"config\.json has no model_type, .*; add it: one of t5, .*llama$"):
        import_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"num_labels": 3, "id2label": "absent"}, None),
        # transformers wrote its default of two beside num_labels.
        ({"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, "2 (id2label)"),
        ({"id2label": {str(i): f"LABEL_{i}" for i in range(5)}}, "5 (id2label)"),
        ({"num_labels": 2}, "2 (num_labels)"),
        ({"num_labels": 7, "id2label": {"0": "no"}}, "1 (id2label) and 7 (num_labels)"),
        ({"id2label": None}, None),
    ],
)
def test_a_classifier_has_the_classes_that_its_weights_have(changes, said, tmp_path, caplog):
    params = exported("classifier", tmp_path)
    change_json(tmp_path, **changes)
    config, imported = import_folder(tmp_path)
    assert config == CONFIGS["classifier"]
    assert_same(imported, params)
    assert ("classifier.weight has 3 rows" in caplog.text) == (said is not None)
    assert said is None or said in caplog.text


def test_of_several_heads_the_named_one_is_taken_and_the_others_are_said(tmp_path, caplog):
    params = exported("classifier", tmp_path)
    extra = state_dict_from_params(make_params(CONFIGS["bert"]), CONFIGS["bert"])
    heads = {name: value for name, value in extra.items() if name.startswith("cls.")}
    change_tensors(tmp_path, lambda tensors: tensors.update(heads))
    config, imported = import_folder(tmp_path)
    assert config == CONFIGS["classifier"]
    assert_same(imported, params)
    assert f"dropped {len(heads)} trained tensors, which" in caplog.text
    assert all(name in caplog.text for name in heads)


@pytest.mark.parametrize("head", ["v_head.summary.weight", "score.weight"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_reward_head_beside_a_language_model_is_dropped_by_name(name, head, tmp_path, caplog):
    params = exported(name, tmp_path)
    change_tensors(tmp_path, lambda tensors: tensors.update({head: np.ones((1, 8), np.float32)}))
    assert_same(import_folder(tmp_path)[1], params)
    assert (
        f"dropped 1 trained tensors, which the model that was imported has no place for: {head}"
        in caplog.text
    )


@pytest.mark.parametrize("buffer", ["inv_freq", "cos_cached", "sin_cached"])
@pytest.mark.parametrize("place", ["model.layers.1.self_attn.rotary_emb", "model.rotary_emb"])
def test_rotary_buffers_are_left_out(buffer, place, tmp_path):
    params = exported("llama", tmp_path)
    change_tensors(tmp_path, lambda tensors: tensors.update({f"{place}.{buffer}": np.ones(2, np.float32)}))
    assert_same(import_folder(tmp_path)[1], params)


class TestEncoderOfT5:
    def test_alone_it_is_told_how_it_can_be_imported(self, tmp_path, no_weights_read):
        exported("t5", tmp_path)

        def drop(tensors: dict[str, np.ndarray]) -> None:
            for key in [key for key in tensors if key.startswith(("decoder.", "lm_head."))]:
                del tensors[key]

        change_tensors(tmp_path, drop)
        with pytest.raises(UserError, match=r"have no decoder; set architectures to \['T5EncoderModel'\] to"):
            import_folder(tmp_path)

    def test_and_comes_out_of_a_whole_t5_as_the_message_says(self, tmp_path, caplog):
        params = exported("t5", tmp_path)
        change_json(tmp_path, architectures=["T5EncoderModel"])
        config, imported = import_folder(tmp_path)
        assert isinstance(config, EncoderOnlyConfig)
        assert_same(imported, {name: params[name] for name in ("token_embedder", "encoder")})
        assert "dropped 31 trained tensors, which the model that was imported has no place for" in caplog.text


class TestAdapters:
    def write(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        content = {"peft_type": "LORA", "base_model_name_or_path": "google/flan-t5-base", "r": 8}
        (folder / "adapter_config.json").write_text(json.dumps(content))
        save_file(
            {"base_model.model.x.lora_A.weight": np.ones((2, 3), "f")}, folder / "adapter_model.safetensors"
        )

    def test_alone(self, tmp_path, no_weights_read):
        self.write(tmp_path / "lora")
        with pytest.raises(
            UserError, match=r"an adapter \(LORA\) of google/flan-t5-base.*merge it first.*merge_and"
        ) as e:
            import_folder(tmp_path / "lora")
        assert "beside it" not in str(e.value)
        (tmp_path / "lora" / "adapter_config.json").unlink()
        with pytest.raises(UserError, match=r"an adapter \(PEFT\) of its base model"):
            import_folder(tmp_path / "lora")

    def test_beside_weights_and_taken_away_as_the_message_says(self, tmp_path):
        params = exported("t5", tmp_path)
        self.write(tmp_path)
        with pytest.raises(UserError, match=r"take adapter_config\.json, adapter_model\.safetensors away$"):
            import_folder(tmp_path)
        (tmp_path / "adapter_config.json").unlink()
        (tmp_path / "adapter_model.safetensors").unlink()
        assert_same(import_folder(tmp_path)[1], params)

    @pytest.mark.parametrize(
        "names",
        [
            ("q.base_layer.weight", "q.lora_A.default.weight", "q.lora_B.default.weight"),
            ("q.weight", "q.lora_magnitude_vector"),
            ("q.modules_to_save.default.weight", "q.original_module.weight"),
            ("q.weight", "q.ia3_l.default"),
        ],
    )
    def test_among_the_tensors(self, names, tmp_path, no_weights_read):
        exported("t5", tmp_path)
        stem = "encoder.block.0.layer.0.SelfAttention."

        def adapt(tensors: dict[str, np.ndarray]) -> None:
            value = tensors.pop(f"{stem}q.weight")
            tensors.update({stem + name: value.copy() for name in names})

        change_tensors(tmp_path, adapt)
        with pytest.raises(
            UserError, match=r"^[123] tensors are of an adapter that is not merged: .*merge it first"
        ):
            import_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("t5", {"vocab_size": 10**9}, r"wrong shape: shared\.weight \(12, 8\) instead of \(1000000000, 8\)"),
        ("gpt2", {"vocab_size": 10**9, "n_positions": 10**9}, r"wrong shape: .*wte.*\(1000000000, 8\), .*wp"),
        ("t5", {"d_ff": 2**31 - 1, "num_heads": 2**20}, r"wrong shape: .*wi_0"),
        ("t5", {"vocab_size": 2**31}, r"vocab_size=2147483648 must be less than 2\^31"),
        ("llama", {"num_hidden_layers": 10**9}, r"describes num_layers=1000000000, but there are only 21"),
        ("llama", {"num_hidden_layers": 3}, r"missing: model\.layers\.2\.input_layernorm\.weight \(8,\), "),
        ("llama", {"rms_norm_eps": float("nan")}, r"rms_norm_eps=nan must be a number"),
        ("bert", {"vocab_size": 13}, r"wrong shape: .*word_embeddings\.weight \(12, 8\) inst"),
        ("t5", {"quantization_config": {"quant_method": "fp8"}}, r"quantization_config says 'fp8', .* deq"),
        ("t5", {"architectures": ["T5ForTokenClassification"]}, r"architectures=\['T5ForToken"),
    ],
)  # fmt: skip
def test_what_headers_tell_is_said_before_a_value_is_read(name, changes, message, tmp_path, no_weights_read):
    exported(name, tmp_path)
    change_json(tmp_path, **changes)
    checked = []
    with pytest.raises(UserError, match=message):
        import_folder(tmp_path, check=checked.append)
    assert not checked


def test_a_copy_of_another_shape_is_told_from_headers_too(tmp_path, no_weights_read):
    config = EncoderDecoderConfig(
        **_SIZES, num_encoder_layers=1, num_decoder_layers=1, mlp_activation="relu", tie_embeddings=True
    )
    export_folder(make_params(config), config, tmp_path)
    change_tensors(tmp_path, lambda t: t.update({"lm_head.weight": np.ones((13, 8), np.float32)}))
    with pytest.raises(CheckpointError, match=r"wrong shape: lm_head\.weight \(13, 8\) instead of \(12, 8\)"):
        import_folder(tmp_path)


def test_what_the_caller_checks_comes_before_values_too(tmp_path, no_weights_read):
    exported("gpt2", tmp_path)

    def check(config: ModelConfig) -> None:
        raise CheckpointError(f"{config.vocab_size} rows are not enough")

    with pytest.raises(CheckpointError, match="12 rows are not enough"):
        import_folder(tmp_path, check=check)


def test_config_errors_come_before_any_file_of_weights_is_opened(tmp_path):
    exported("gpt2", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no safetensors")
    change_json(tmp_path, n_embd="wide")
    with pytest.raises(CheckpointError, match="n_embd='wide' must be an integer"):
        import_folder(tmp_path)


def test_quantized_tensors_are_counted(tmp_path, no_weights_read):
    exported("llama", tmp_path)

    def quantize(tensors: dict[str, np.ndarray]) -> None:
        for i in range(2):
            key = f"model.layers.{i}.mlp.down_proj.weight"
            tensors[key] = tensors[key].astype(np.int8)

    change_tensors(tmp_path, quantize)
    with pytest.raises(
        CheckpointError, match=r"2 of 21 tensors are not of float32, .*: .*down_proj\.weight has dtype int8"
    ):
        import_folder(tmp_path)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("config.json", '"n_layer": 2', '"n_layer": 2, "n_layer": 3'),
        ("model.safetensors.index.json", '"lm', '"transformer.wte.weight": "a", "lm'),
    ],
)
def test_a_key_that_is_there_twice_is_refused(file, before, after, tmp_path):
    params = make_params(CONFIGS["gpt2"])
    export_folder(params, CONFIGS["gpt2"], tmp_path, max_shard_bytes=1000)
    text = (tmp_path / file).read_text().replace('"weight_map": {', '"weight_map": {"lm": "b", ')
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after))
    with pytest.raises(CheckpointError, match="is there twice"):
        import_folder(tmp_path)


class TestNotFinite:
    """NaN and infinity go neither in nor out, and all tensors that hold any are named and counted."""

    @pytest.mark.parametrize(
        ("dtype", "place"),
        [("float32", None), ("float16", None), ("bfloat16", None), ("float32", "fitting")],
    )
    def test_in(self, dtype, place, tmp_path):
        params = make_params(CONFIGS["gpt2"])
        export_folder(params, CONFIGS["gpt2"], tmp_path, dtype=dtype)

        def spoil(tensors: dict[str, np.ndarray]) -> None:
            tensors["transformer.wte.weight"][3, 2] = -np.inf
            tensors["transformer.h.1.attn.c_attn.weight"][0, :2] = np.nan
            tensors["transformer.h.1.attn.c_attn.weight"][1, 20] = np.inf

        change_tensors(tmp_path, spoil)
        with pytest.raises(CheckpointError) as error:
            import_folder(tmp_path, partitioner=place)
        assert "not imported: 2 hold NaN or infinity: transformer.wte.weight (1 infinite), " in str(
            error.value
        )
        assert "transformer.h.1.attn.c_attn.weight (2 NaN, 1 infinite); " in str(error.value)

    def test_in_from_pytorch_and_from_memory(self, tmp_path):
        tensors = state_dict_from_params(make_params(CONFIGS["bert"]), CONFIGS["bert"])
        tensors["cls.predictions.bias"][:] = np.nan
        with pytest.raises(
            CheckpointError, match=r"1 holds NaN or infinity: cls\.predictions\.bias \(12 NaN\)"
        ):
            params_from_state_dict(tensors, CONFIGS["bert"])
        exported("bert", tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save({k: torch.from_numpy(v) for k, v in tensors.items()}, tmp_path / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"cls\.predictions\.bias \(12 NaN\)"):
            import_folder(tmp_path)

    def test_too_large_for_float32(self):
        tensors = state_dict_from_params(make_params(CONFIGS["gpt2"]), CONFIGS["gpt2"])
        tensors["transformer.ln_f.bias"] = np.full(8, 1e300)
        with pytest.raises(CheckpointError, match=r"transformer\.ln_f\.bias \(8 infinite\)"):
            params_from_state_dict(tensors, CONFIGS["gpt2"])

    def test_all_of_it_in_a_short_message(self, tmp_path):
        params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), make_params(CONFIGS["bert"]))
        with pytest.raises(CheckpointError, match=r"\d+ hold NaN or infinity: .* and \d+ more; ") as error:
            export_folder(params, CONFIGS["bert"], tmp_path / "out")
        assert len(str(error.value)) < 1500

    @pytest.mark.parametrize("on_device", [False, True])
    @pytest.mark.parametrize("format_name", ["huggingface", "stablehlo"])
    def test_out(self, format_name, on_device, tmp_path):
        params = make_params(CONFIGS["llama"])
        params["decoder"]["layers"]["mlp"]["wo"][1, 0, 0] = np.nan
        params["decoder"]["final_norm"]["scale"][:] = np.inf
        given = jax.device_put(params) if on_device else params
        message = r"not exported: 2 hold NaN or infinity: .*norm/scale \(8 infinite\), .*wo \(1 NaN\)"
        with pytest.raises(CheckpointError, match=message):
            FORMATS[format_name].export_folder(given, CONFIGS["llama"], tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
