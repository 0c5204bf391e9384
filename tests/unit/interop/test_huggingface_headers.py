"""What config.json and the files' headers tell is said before a value is read."""

import numpy as np
import pytest
import torch

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop import arrival
from t5lite.interop.huggingface import export_folder, fitting, import_folder
from t5lite.models.config import EncoderDecoderConfig, ModelConfig, PlainMLP
from tests.small_folders import CONFIGS, SIZES, change_json, change_tensors, exported, make_params, state_dict


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
        **SIZES, num_encoder_layers=1, num_decoder_layers=1, mlp=PlainMLP(), tie_embeddings=True
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


def test_a_tensor_of_more_elements_than_the_file_has_is_refused(tmp_path):
    """An expanded view of one row may claim any size, and its copy would take it."""
    exported("gpt2", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state_dict("gpt2").items()}
    tensors["transformer.wte.weight"] = torch.zeros(1, 8).expand(1 << 30, 8)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    change_json(tmp_path, vocab_size=1 << 30)
    with pytest.raises(
        CheckpointError, match=r"transformer\.wte\.weight \(1073741824, 8\) has more elements than"
    ):
        import_folder(tmp_path)


@pytest.mark.parametrize("number", [30, 1 << 20])
def test_layers_that_the_tensors_are_too_few_for_are_not_made(tmp_path, number, monkeypatch):
    """A model of a million layers is made of tensors of a million names, which take gigabytes."""
    exported("llama", tmp_path)
    change_json(tmp_path, num_hidden_layers=number)
    monkeypatch.setattr(fitting, "_LISTED_LAYERS", 5)
    monkeypatch.setattr(fitting, "plan", None)
    with pytest.raises(CheckpointError, match=f"num_layers={number}, but there are only 21 tensors, too few"):
        import_folder(tmp_path)


def test_an_array_that_no_memory_has_is_said():
    with pytest.raises(
        CheckpointError, match=r"shape \(1099511627776, 1024\) \(4,194,304\.0 GiB\) does not fit"
    ):
        arrival.empty((1 << 40, 1 << 10), np.float32)
