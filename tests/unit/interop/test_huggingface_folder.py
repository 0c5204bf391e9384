import json
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from t5lite.core.errors import CheckpointError, ConfigError, UserError
from t5lite.core.registry import lookup
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.interop import FORMATS
from t5lite.interop.huggingface import (
    export_folder,
    import_folder,
    params_from_state_dict,
    state_dict_from_params,
)
from t5lite.models.config import (
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    Execution,
    GatedMLP,
    ModelConfig,
    PlainMLP,
    RelativePositions,
)
from t5lite.models.functional import build

VERSIONS: dict[str, dict[str, Any]] = {
    "1.0": {"mlp": PlainMLP(activation="relu"), "tie_embeddings": True},
    "1.1": {"mlp": GatedMLP(activation="gelu_tanh"), "tie_embeddings": False},
}


def make_config(version: str = "1.1", **changes: Any) -> EncoderDecoderConfig:
    fields: dict[str, Any] = {
        "vocab_size": 24,
        "embed_dim": 8,
        "mlp_dim": 10,
        "head_dim": 3,
        "num_heads": 2,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "positions": RelativePositions(num_buckets=8, max_distance=20),
    }
    return EncoderDecoderConfig(**{**fields, **VERSIONS[version], **changes})


def make_params(config: ModelConfig, execution: Execution | None = None) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype),
        build(config, execution).abstract_params,
    )


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@given(
    version=st.sampled_from(sorted(VERSIONS)),
    num_heads=st.integers(1, 3),
    head_dim=st.integers(1, 3),
    layers=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@settings(deadline=None, max_examples=6)
def test_tensors_and_back_is_the_identity(version, num_heads, head_dim, layers):
    config = make_config(
        version,
        num_heads=num_heads,
        head_dim=head_dim,
        num_encoder_layers=layers[0],
        num_decoder_layers=layers[1],
    )
    params = make_params(config)
    tensors = state_dict_from_params(params, config)
    assert all(tensor.flags.c_contiguous for tensor in tensors.values())
    assert ("lm_head.weight" in tensors) == (version == "1.1")
    assert_same(params_from_state_dict(tensors, config), params)


def test_kernels_are_transposed():
    config = make_config()
    params = make_params(config)
    tensors = state_dict_from_params(params, config)
    query_NDJ = params["decoder"]["layers"]["cross_attention"]["query"]
    q_weight = tensors["decoder.block.1.layer.1.EncDecAttention.q.weight"]
    head, kv, embed = 1, 2, 5
    assert q_weight[head * config.head_dim + kv, embed] == query_NDJ[1, embed, head * config.head_dim + kv]
    out_NJD = params["encoder"]["layers"]["self_attention"]["out"]
    o_weight = tensors["encoder.block.0.layer.0.SelfAttention.o.weight"]
    assert o_weight[embed, head * config.head_dim + kv] == out_NJD[0, head * config.head_dim + kv, embed]


@pytest.mark.parametrize("version", VERSIONS)
def test_folder_and_back_is_bitwise(version, tmp_path):
    config = make_config(version, dropout_rate=0.05)
    params = make_params(config)
    export = export_folder(params, config, tmp_path / "out")
    assert export.files == ("config.json", "generation_config.json", "model.safetensors")
    assert export.num_params == build(config).num_params
    assert export.num_bytes == 4 * export.num_params
    config_back, params_back = import_folder(tmp_path / "out")
    assert config_back == config
    assert_same(params_back, params)


def test_bfloat16_parameters_survive_both_ways(tmp_path):
    config = make_config()
    params = make_params(config, Execution(param_dtype="bfloat16"))
    export_folder(params, config, tmp_path / "out", dtype="bfloat16")
    assert load_file(tmp_path / "out" / "model.safetensors")["shared.weight"].dtype == ml_dtypes.bfloat16
    config_back, params_back = import_folder(tmp_path / "out", param_dtype="bfloat16")
    assert config_back == config
    assert_same(params_back, params)


def test_float16_overflow_is_reported(tmp_path, caplog):
    config = make_config()
    params = make_params(config)
    params["encoder"]["layers"]["mlp"]["wo"][1, 0, 0] = 1e5
    export = export_folder(params, config, tmp_path / "out", dtype="float16")
    assert export.overflows == {"encoder.block.1.layer.1.DenseReluDense.wo.weight": 1}
    assert "export in bfloat16 or float32 instead" in caplog.text
    assert export_folder(params, config, tmp_path / "wide", dtype="bfloat16").overflows == {}


def test_config_json_serves_transformers_4_and_5(tmp_path):
    for version in VERSIONS:
        export_folder(make_params(make_config(version)), make_config(version), tmp_path / version)
        values = json.loads((tmp_path / version / "config.json").read_text())
        assert values["tie_word_embeddings"] is values["scale_decoder_outputs"] is (version == "1.0")
        assert values["feed_forward_proj"] == {"1.0": "relu", "1.1": "gated-gelu"}[version]
        assert values["decoder_start_token_id"] == 0


def rewrite(folder, **changes: Any) -> None:
    values = json.loads((folder / "config.json").read_text())
    values.update(changes)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v != "absent"}))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "changes",
    [
        {"scale_decoder_outputs": "absent"},  # transformers 4
        {"tie_word_embeddings": True},  # transformers 5, which forces it
        {"scale_decoder_outputs": "absent", "tie_word_embeddings": True},  # the tensors decide
        {"scale_decoder_outputs": "absent", "tie_word_embeddings": "absent"},
        {"num_decoder_layers": None, "torch_dtype": "absent", "dtype": "float32"},
    ],
)
def test_every_reader_generation_of_config_json_is_understood(version, changes, tmp_path):
    if version == "1.0" and changes.get("scale_decoder_outputs") == "absent":
        changes = {"tie_word_embeddings": True, **changes}
    config = make_config(version, num_decoder_layers=2)
    params = make_params(config)
    export_folder(params, config, tmp_path / "out")
    rewrite(tmp_path / "out", **changes)
    config_back, params_back = import_folder(tmp_path / "out")
    assert config_back == config
    assert_same(params_back, params)


def test_shards_are_read_and_checked(tmp_path):
    config = make_config()
    params = make_params(config)
    export_folder(params, config, tmp_path / "out")
    folder = tmp_path / "out"
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file)

    def write_index(weight_map: dict[str, str]) -> None:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    write_index(files)
    assert_same(import_folder(folder)[1], params)
    write_index({**files, "ghost": files[names[0]]})
    with pytest.raises(CheckpointError, match="disagree about ghost"):
        import_folder(folder)
    write_index({**files, "ghost": "../elsewhere.safetensors"})
    with pytest.raises(CheckpointError, match="points outside its folder"):
        import_folder(folder)
    write_index({})
    with pytest.raises(CheckpointError, match="has no weight_map"):
        import_folder(folder)
    write_index(files)
    (folder / files[names[0]]).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        import_folder(folder)


def test_tensors_that_do_not_fit_are_listed_with_their_shapes():
    config = make_config()
    tensors = state_dict_from_params(make_params(config), config)
    del tensors["encoder.final_layer_norm.weight"]
    tensors["encoder.block.9.layer.0.layer_norm.weight"] = np.zeros(8, np.float32)
    tensors["shared.weight"] = np.zeros((25, 8), np.float32)
    with pytest.raises(CheckpointError) as error:
        params_from_state_dict(tensors, config)
    assert "missing: encoder.final_layer_norm.weight (8,)" in str(error.value)
    assert "unexpected: encoder.block.9.layer.0.layer_norm.weight (8,)" in str(error.value)
    assert "wrong shape: shared.weight (25, 8) instead of (24, 8)" in str(error.value)


def test_every_tensor_is_listed_by_name_until_there_are_very_many():
    for num_layers, more in ((2, ""), (9, r" and \d+ more")):
        config = make_config(num_encoder_layers=num_layers)
        tensors = state_dict_from_params(make_params(config), config)
        with pytest.raises(
            CheckpointError, match=rf"missing: shared\.weight \(24, 8\), .*\){more}$"
        ) as error:
            params_from_state_dict({"lm_head.weight": tensors["lm_head.weight"]}, config)
        assert sum(f"{name} (" in str(error.value) for name in tensors) == min(100, len(tensors) - 1)


def test_two_names_of_one_tensor_are_refused():
    config = EncoderOnlyConfig(
        vocab_size=24,
        embed_dim=8,
        mlp_dim=10,
        head_dim=4,
        num_heads=2,
        num_layers=1,
        max_length=4,
        head="hidden",
    )
    tensors = state_dict_from_params(make_params(config), config)
    tensors["embeddings.LayerNorm.gamma"] = tensors["embeddings.LayerNorm.weight"] + 1
    with pytest.raises(
        CheckpointError, match=r"embeddings\.LayerNorm\.weight and embeddings\.LayerNorm\.gamma are two names"
    ):
        params_from_state_dict(tensors, config)


def test_parameters_of_another_model_are_refused_and_leave_nothing(tmp_path):
    params = make_params(make_config())
    params["encoder"]["final_norm"]["bias"] = np.zeros(8)
    with pytest.raises(CheckpointError, match="unexpected: encoder/final_norm/bias"):
        export_folder(params, make_config(), tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"token_embedder/embedding \(25, 8\) instead of \(24, 8\)"):
        export_folder(make_params(make_config(vocab_size=25)), make_config(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_copies_of_the_table_are_taken_only_when_they_are_copies():
    config = make_config("1.0")
    params = make_params(config)
    tensors = state_dict_from_params(params, config)
    table = tensors["shared.weight"]
    copies = {"encoder.embed_tokens.weight": table, "lm_head.weight": table}
    assert_same(params_from_state_dict({**tensors, **copies}, config), params)
    alone = {name: tensor for name, tensor in tensors.items() if name != "shared.weight"}
    assert_same(params_from_state_dict({**alone, "decoder.embed_tokens.weight": table}, config), params)
    for name in copies:
        with pytest.raises(CheckpointError, match=f"{name} differs from shared.weight"):
            params_from_state_dict({**tensors, name: table + 1}, config)


def test_the_unread_bias_of_the_first_t5_checkpoints_is_dropped():
    config = make_config("1.0")
    tensors = state_dict_from_params(make_params(config), config)
    name = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    params_from_state_dict({**tensors, name: np.zeros((8, 2), np.float32)}, config)


def test_quantized_tensors_are_refused():
    config = make_config()
    tensors = state_dict_from_params(make_params(config), config)
    tensors["shared.weight"] = tensors["shared.weight"].astype(np.int8)
    with pytest.raises(CheckpointError, match=r"shared\.weight has dtype int8"):
        params_from_state_dict(tensors, config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "t5gemma3"},
            r"model_type='t5gemma3' is not supported; allowed: 't5', 'mt5', 'umt5', ",
        ),
        ({"feed_forward_proj": "gated-relu"}, "feed_forward_proj='gated-relu' .* 'relu', 'gated-gelu'"),
        ({"dense_act_fn": "gelu"}, "dense_act_fn='gelu' .* allowed: 'gelu_new'"),
        ({"architectures": ["T5ForTokenClassification"]}, "architectures=.*T5ForTokenClassification"),
        ({"pad_token_id": 3}, "pad_token_id=3"),
        ({"num_heads": 0}, "num_heads=0 must be 1 or more"),
        ({"num_layers": -1}, "num_layers=-1 must be 1 or more"),
        ({"scale_decoder_outputs": True}, "neither T5 1.0 nor 1.1"),
        ({"d_model": "wide"}, "d_model='wide' must be an integer"),
        ({"d_model": "absent"}, "d_model=None must be an integer"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon='small' must be a number"),
        ({"num_heads": 3}, r"q\.weight \(6, 8\) instead of \(9, 8\)"),
    ],
)
def test_another_architecture_is_refused_by_key_and_value(changes, message, tmp_path):
    export_folder(make_params(make_config()), make_config(), tmp_path / "out")
    rewrite(tmp_path / "out", **changes)
    with pytest.raises(UserError, match=message):
        import_folder(tmp_path / "out")


def test_missing_or_damaged_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="is not a directory"):
        import_folder(tmp_path / "nowhere")
    (tmp_path / "tf_model.h5").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"tf_model\.h5 cannot be read safely"):
        import_folder(tmp_path)
    folder = tmp_path / "out"
    export_folder(make_params(make_config()), make_config(), folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-7])
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        import_folder(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        import_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        import_folder(folder)


def test_vocabulary_goes_along_if_the_table_holds_it(tmp_path):
    train_vocabulary(["some words to learn pieces from, quickly"], tmp_path / "spiece.model", size=25)
    vocabulary = SentencePieceVocabulary(tmp_path / "spiece.model", extra_ids=4)
    config = make_config(vocab_size=40)
    export = export_folder(make_params(config), config, tmp_path / "out", vocabulary=vocabulary)
    tokenizer_files = {"spiece.model", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"}
    assert tokenizer_files < set(export.files)
    again = FORMATS["huggingface"].read_vocabulary(tmp_path / "out")
    assert again is not None
    assert again.fingerprint == vocabulary.fingerprint
    small = make_config(vocab_size=28)
    with pytest.raises(CheckpointError, match=r"29 ids, sentinels included, but .* vocab_size=28"):
        export_folder(make_params(small), small, tmp_path / "small", vocabulary=vocabulary)
    assert not (tmp_path / "small").exists()


def test_an_export_does_not_overwrite_unasked(tmp_path):
    config = make_config()
    params = make_params(config)
    export_folder(params, config, tmp_path / "out")
    with pytest.raises(UserError, match="exists and is not empty"):
        export_folder(params, config, tmp_path / "out")
    export_folder(params, config, tmp_path / "out", overwrite=True)
    assert_same(import_folder(tmp_path / "out")[1], params)


def test_unknown_names_get_a_suggestion(tmp_path):
    with pytest.raises(UserError, match="did you mean 'bfloat16'"):
        export_folder(make_params(make_config()), make_config(), tmp_path / "out", dtype="bfloat1")
    with pytest.raises(ConfigError, match="did you mean 'huggingface'"):
        lookup(FORMATS, "hugging_face", kind="format")
