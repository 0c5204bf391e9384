"""What people bring: wrapped names, folders of 2019, adapters, buffers, heads that nobody asked for."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.huggingface import export_folder, import_folder, read_usage, state_dict_from_params
from t5lite.interop.huggingface.families import family_of
from t5lite.interop.huggingface.stored_tensors import from_arrays
from t5lite.interop.huggingface.tensor_names import canonical_names
from t5lite.interop.usage import Usage
from t5lite.models.config import EncoderOnlyConfig
from tests.small_folders import (
    CONFIGS,
    assert_same,
    change_json,
    change_tensors,
    exported,
    make_params,
    state_dict,
)


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
    with pytest.raises(UserError, match=r"config\.json has no model_type, .*; add it: one of t5, .*qwen3$"):
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


class TestAClassifierThatIsNoSoftmax:
    @pytest.mark.parametrize("problem", ["multi_label_classification", "regression", "ranking"])
    def test_is_refused_by_name_before_weights_are_read(self, problem, tmp_path, no_weights_read):
        exported("classifier", tmp_path)
        change_json(tmp_path, problem_type=problem)
        with pytest.raises(UserError, match=rf"problem_type='{problem}' is not supported: .* with a softmax"):
            import_folder(tmp_path)

    def test_nor_is_one_of_a_single_class(self, tmp_path, no_weights_read):
        exported("classifier", tmp_path)
        change_json(tmp_path, problem_type="single_label_classification", id2label={"0": "score"})
        change_tensors(tmp_path, one_output)
        with pytest.raises(UserError, match=r"config\.json: num_labels=1 is not supported"):
            import_folder(tmp_path)

    @pytest.mark.parametrize("problem", ["absent", None, "regression"])
    def test_but_a_single_output_is_a_number_as_to_transformers(self, problem, tmp_path):
        params = exported("classifier", tmp_path)
        change_json(tmp_path, problem_type=problem, id2label={"0": "score"})
        change_tensors(tmp_path, one_output)
        config, found = import_folder(tmp_path)
        assert isinstance(config, EncoderOnlyConfig)
        assert config.head == "sequence_regression"
        dense = params["classifier"]["dense"]
        np.testing.assert_array_equal(found["classifier"]["dense"]["kernel"], dense["kernel"][:, :1])

    def test_and_its_encoder_is_imported_as_the_message_says(self, tmp_path):
        exported("classifier", tmp_path / "whole")
        change_json(tmp_path / "whole", problem_type="regression", num_labels=1)
        change_tensors(tmp_path / "whole", one_output)
        model = transformers.AutoModel.from_pretrained(tmp_path / "whole")
        model.save_pretrained(tmp_path / "encoder")
        config, _ = import_folder(tmp_path / "encoder")
        assert isinstance(config, EncoderOnlyConfig)
        assert replace(config, num_labels=3) == replace(CONFIGS["classifier"], head="pooled")

    @pytest.mark.parametrize("problem", [None, "single_label_classification"])
    def test_but_one_of_several_classes_is_one(self, problem, tmp_path):
        params = exported("classifier", tmp_path)
        change_json(tmp_path, problem_type=problem)
        assert_same(import_folder(tmp_path)[1], params)

    def test_nor_does_it_concern_a_classifier_of_tokens(self, tmp_path):
        """Whose outputs transformers makes a softmax of whatever is said."""
        config = replace(CONFIGS["classifier"], head="token_classification")
        export_folder(make_params(config), config, tmp_path)
        change_json(tmp_path, problem_type="regression")
        assert import_folder(tmp_path)[0] == config


def one_output(tensors: dict[str, np.ndarray]) -> None:
    for key in ("classifier.weight", "classifier.bias"):
        tensors[key] = tensors[key][:1].copy()


NUMBERED = ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    "names",
    [
        ("A", "A", "B"),
        ("A", "", "B"),
        ("A", " \t", "B"),
        ("A", "B\nC", "D"),
        ("A", "B\u2028", "D"),
        ("LABEL_2", "A"),  # and the third is called LABEL_2 because it has no name
    ],
)
def test_class_names_that_do_not_tell_outputs_apart_are_left_out(names, tmp_path, caplog):
    exported("classifier", tmp_path)
    change_json(tmp_path, id2label={str(i): name for i, name in enumerate(names)})
    usage = read_usage(tmp_path)
    assert usage.names(3) == NUMBERED
    assert "the names of the 3 classes are left out" in caplog.text


@given(st.lists(st.text(max_size=3), max_size=4))
def test_names_of_classes_are_lines_and_one_for_each(names):
    given = Usage(class_names=tuple(names)).names(3)
    assert len(set(given)) == len("\n".join(given).splitlines()) == 3
    assert given in (NUMBERED, (*names[:3], *NUMBERED[len(names) :]))


def test_what_a_generation_config_says_of_writing_is_named_and_goes_out_again(tmp_path, caplog):
    exported("gpt2", tmp_path)
    read_usage(tmp_path)
    assert not caplog.records
    said = json.loads((tmp_path / "generation_config.json").read_text())
    more = {
        "do_sample": True,
        "temperature": 0.6,
        "forced_bos_token_id": 9,
        "top_k": None,
        "use_cache": False,
    }
    (tmp_path / "generation_config.json").write_text(json.dumps({**said, **more}))
    usage = read_usage(tmp_path)
    (record,) = caplog.records
    assert "says do_sample=True, temperature=0.6, forced_bos_token_id=9, which" in record.getMessage()
    config = CONFIGS["gpt2"]
    export_folder(make_params(config), config, tmp_path / "again", usage=usage)
    again = json.loads((tmp_path / "again/generation_config.json").read_text())
    kept = {"do_sample": True, "temperature": 0.6, "forced_bos_token_id": 9}
    assert {key: value for key, value in again.items() if key in more} == kept


@pytest.mark.parametrize("start", [7, [0, 7]])
def test_another_start_of_texts_is_refused_in_generation_config_too(start, tmp_path, no_weights_read):
    exported("t5", tmp_path)
    said = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps({**said, "decoder_start_token_id": start}))
    with pytest.raises(
        UserError, match=rf"decoder_start_token_id={re.escape(str(start))}, .* start with id 0"
    ):
        import_folder(tmp_path)


def test_another_start_of_texts_in_config_is_refused_with_a_remedy(tmp_path, no_weights_read):
    exported("t5", tmp_path)
    said = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**said, "decoder_start_token_id": 7}))
    with pytest.raises(UserError, match=r"=7, but .* start with id 0.*write decoder_start_token_id=0"):
        import_folder(tmp_path)
