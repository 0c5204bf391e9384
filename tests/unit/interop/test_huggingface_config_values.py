"""What config.json of a family may say: it is read as transformers reads it, or refused by the key's name."""

import json
from typing import Any

import pytest
import torch
from huggingface_families import CONFIGS, change_json, exported
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from t5lite.core.errors import UserError
from t5lite.interop.huggingface import import_folder
from t5lite.interop.huggingface.families import family_of, family_of_json
from t5lite.interop.huggingface.family import Values
from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    RotaryPositions,
    Unscaled,
)

MISSING = "missing"
DECODERS = ("llama", "mistral", "qwen2", "qwen3")
FULL, LOCAL = "full_attention", "sliding_attention"
_YARN = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8}
_LLAMA31 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
_NO_ROPE: dict[str, Any] = dict.fromkeys(("rope_parameters", "rope_scaling", "rope_theta"), MISSING)
OF_DECODERS: list[dict[str, Any]] = [
    {},
    {"num_key_value_heads": None},
    {"head_dim": None},
    {"head_dim": MISSING, "num_attention_heads": 2, "hidden_size": 256},
    {"head_dim": 6},
    {"rms_norm_eps": 1e-3, "tie_word_embeddings": True, "torch_dtype": "float16", "dtype": "bfloat16"},
    {"tie_word_embeddings": MISSING, "attention_bias": MISSING, "mlp_bias": MISSING},
    _NO_ROPE,
    {**_NO_ROPE, "rope_theta": 77.0},
    {**_NO_ROPE, "rope_theta": 77.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    {**_NO_ROPE, "rope_theta": 77.0, "rope_parameters": {"rope_type": "linear", "factor": 2.0}},
    # Of the older key and the newer one, transformers takes the older.
    {"rope_theta": 77.0, "rope_scaling": _LLAMA31, "rope_parameters": {"rope_theta": 3.0}},
    {"rope_theta": 77.0, "rope_scaling": {}, "rope_parameters": {**_LLAMA31, "rope_theta": 3.0}},
    {"partial_rotary_factor": 1.0},
    {"sliding_window": None},
    {"sliding_window": 7, "use_sliding_window": False, "max_window_layers": 1},
    {"sliding_window": MISSING},
    {"layer_types": [FULL, FULL]},
    {"layer_types": None, "somebodys_own_key": [1], "_name_or_path": "x", "transformers_version": "4.1"},
]
NOT_NULL = {"mistral": [{"num_key_value_heads": None}], "qwen3": [{"head_dim": None}]}
"""What transformers does not read."""
OF_MODERNBERTS: list[dict[str, Any]] = [
    {},
    {"layer_types": MISSING},
    {"layer_types": MISSING, "global_attn_every_n_layers": 2, "local_attention": 9},
    {"layer_types": MISSING, "global_attn_every_n_layers": 1},
    {"layer_types": [LOCAL, FULL, FULL, LOCAL, LOCAL, LOCAL]},
    {"layer_types": [FULL] * 6},
    {"rope_parameters": MISSING, "global_rope_theta": 9.0, "local_rope_theta": 8.0},
    {"rope_parameters": MISSING, "global_rope_theta": MISSING, "local_rope_theta": MISSING},
    {"rope_parameters": {FULL: {"rope_type": "default", "rope_theta": 5.0}}},
    {"rope_parameters": {LOCAL: {"rope_type": "default", "rope_theta": 5.0}}, "rope_scaling": None},
    {"norm_eps": 1e-3, "attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True},
    {"local_attention": MISSING, "dtype": "float16", "reference_compile": True, "repad_logits_with_grad": 1},
]
OF_SIDES: list[dict[str, Any]] = [
    {},
    {"layer_types": MISSING, "sliding_window": 5},
    {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    {"attn_logit_softcapping": MISSING, "final_logit_softcapping": MISSING, "query_pre_attn_scalar": MISSING},
    {**_NO_ROPE, "rope_theta": 77.0},
    {"sliding_window": MISSING, "rms_norm_eps": 1e-3, "_attn_implementation": "eager"},
]


def json_of(name: str, *, side: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return the config.json of an exported model with changes, of both sides of a T5Gemma by ``side``."""

    def changed(content: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in (content | changes).items() if value != MISSING}

    family = family_of(CONFIGS[name])
    content = family.to_json(CONFIGS[name], "float32", {"bos": 1, "eos": 2, "pad": None})
    for part in ("encoder", "decoder") if side else ():
        content[part] = changed(content[part], dict(side or {}))
    return json.loads(json.dumps(changed(content, changes)))


def read(content: dict[str, Any]) -> Any:
    values = Values(content)
    return family_of_json(values).from_json(values)


def theirs_of_rotary(parameters: dict[str, Any]) -> RotaryPositions:
    scalings = {
        "default": Unscaled,
        "linear": lambda: LinearScaling(factor=parameters["factor"]),
        "llama3": lambda: Llama3Scaling(
            factor=parameters["factor"],
            low_frequency_factor=parameters["low_freq_factor"],
            high_frequency_factor=parameters["high_freq_factor"],
            original_max_length=parameters["original_max_position_embeddings"],
        ),
    }
    return RotaryPositions(base=parameters["rope_theta"], scaling=scalings[parameters["rope_type"]]())


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_read_as_transformers_reads_it(name):
    for changes in OF_DECODERS:
        if changes in NOT_NULL.get(name, ()):
            continue
        content = json_of(name, **changes)
        ours: DecoderOnlyConfig = read(content)
        theirs = AutoConfig.for_model(**content)
        assert ours.positions == theirs_of_rotary(theirs.rope_parameters), changes
        assert ours.kv_heads == theirs.num_key_value_heads, changes
        width = getattr(theirs, "head_dim", None) or theirs.hidden_size // theirs.num_attention_heads
        assert ours.head_dim == width, changes
        window = theirs.sliding_window if name == "mistral" else None
        assert set(getattr(theirs, "layer_types", None) or [FULL]) == {FULL}
        assert ours.attention.windows == (window,), changes
        assert (ours.norm.epsilon, ours.tie_embeddings) == (theirs.rms_norm_eps, theirs.tie_word_embeddings)


def test_a_modernbert_is_read_as_transformers_reads_it():
    for changes in OF_MODERNBERTS:
        content = json_of("modernbert", **changes)
        ours: EncoderOnlyConfig = read(content)
        theirs = AutoConfig.for_model(**content)
        windows = [theirs.sliding_window if kind == LOCAL else None for kind in theirs.layer_types]
        cycle = ours.attention.windows
        assert [cycle[i % len(cycle)] for i in range(ours.num_layers)] == windows, changes
        assert isinstance(ours.positions, RotaryPositions)
        bases = {FULL: ours.positions.base, LOCAL: ours.positions.local_base or ours.positions.base}
        assert bases == {kind: theirs.rope_parameters[kind]["rope_theta"] for kind in (FULL, LOCAL)}, changes
        assert (ours.attention.biases == "all", ours.mlp.bias) == (theirs.attention_bias, theirs.mlp_bias)
        assert (ours.norm.bias, ours.norm.epsilon) == (theirs.norm_bias, theirs.norm_eps)
        assert ours.head_bias == theirs.classifier_bias


def test_a_t5gemma_is_read_as_transformers_reads_it():
    for changes in OF_SIDES:
        content = json_of("t5gemma", side=changes)
        ours: EncoderDecoderConfig = read(content)
        theirs, cycle = AutoConfig.for_model(**content), ours.attention.windows
        for side in (theirs.encoder, theirs.decoder):
            windows = [side.sliding_window if kind == LOCAL else None for kind in side.layer_types]
            assert [cycle[i % len(cycle)] for i in range(len(windows))] == windows, changes
            assert ours.positions == theirs_of_rotary(side.rope_parameters), changes
            assert ours.attention.softcap == side.attn_logit_softcapping, changes
            assert ours.norm.epsilon == side.rms_norm_eps
        assert (ours.attention.scale_dim or ours.head_dim) == theirs.decoder.query_pre_attn_scalar
        assert ours.logit_softcap == theirs.decoder.final_logit_softcapping, changes


REFUSED: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    (DECODERS, {"rope_scaling": _YARN}, "rope_scaling.rope_type='yarn' is not supported; allowed: 'default'"),
    (DECODERS, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.type='dynamic' is not"),
    (
        DECODERS,
        {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
        "rope_parameters.rope_type='longrope' is not supported",
    ),
    (DECODERS, {"rope_scaling": {"type": "linear"}}, "rope_scaling.factor=None must be a number"),
    (DECODERS, {"rope_scaling": {"type": "linear", "factor": -1.0}}, "positions.scaling.factor=-1.0 must be"),
    (DECODERS, {"rope_scaling": "linear"}, "rope_scaling='linear' must be an object"),
    (
        DECODERS,
        {"rope_parameters": {FULL: {"rope_theta": 2.0}}},
        f"rope_parameters.{FULL}=.* is not",
    ),
    (DECODERS, {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5 is not supported; allowed: 1.0"),
    (
        DECODERS,
        {"rope_parameters": {"partial_rotary_factor": 0.5}},
        "rope_parameters.partial_rotary_factor=0.5 is not supported",
    ),
    (DECODERS, {"layer_types": [FULL, LOCAL]}, "layer_types=.*'sliding_attention'.* is not supported"),
    (DECODERS, {"rms_norm_eps": 0}, "norm.epsilon=0.0 must be positive"),
    (DECODERS, {"rms_norm_eps": "1e-6"}, "rms_norm_eps='1e-6' must be a number"),
    (DECODERS, {"num_key_value_heads": 3}, "num_kv_heads=3 must divide num_heads=2"),
    (DECODERS, {"hidden_act": "gelu"}, "hidden_act='gelu' is not supported; allowed: 'silu'"),
    (DECODERS, {"tie_word_embeddings": 1}, "tie_word_embeddings=1 must be true or false"),
    (("llama", "qwen3"), {"attention_bias": True}, "attention_bias=True is not supported"),
    (("llama",), {"mlp_bias": True}, "mlp_bias=True is not supported"),
    (("qwen2", "qwen3"), {"use_sliding_window": True}, "use_sliding_window=True is not supported"),
    (("mistral",), {"sliding_window": -4}, "sliding_window=-4 must be 1 or more"),
    (("modernbert",), {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters.rope_theta=5.0 is not supp"),
    (
        ("modernbert",),
        {"rope_parameters": {FULL: {"rope_theta": 5.0, "partial_rotary_factor": 0.5}}},
        "rope_parameters.full_attention.partial_rotary_factor=0.5 is not supported",
    ),
    (("modernbert",), {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5 is not supported"),
    (("modernbert",), {"rope_scaling": _YARN}, "rope_scaling has rope_type='yarn'"),
    (("modernbert",), {"causal_mask": True}, "causal_mask=True is not supported"),
    (("modernbert",), {"hidden_activation": "quick_gelu"}, "hidden_activation='quick_gelu' is not supported"),
    (("roberta-hidden",), {"is_decoder": True}, "is_decoder=True is not supported"),
    (("roberta-hidden",), {"position_embedding_type": "relative_key_query"}, "position_embedding_type='rel"),
    (("roberta-hidden",), {"layer_norm_eps": -1.0}, "norm.epsilon=-1.0 must be positive"),
    (("t5gemma",), {"side": {"sliding_window": None}}, "encoder.sliding_window=None is not supported"),
    (
        ("t5gemma",),
        {"side": {"rope_scaling": _YARN}},
        "encoder.rope_scaling.rope_type='yarn' is not",
    ),
    (("t5gemma",), {"side": {"partial_rotary_factor": 0.5}}, "encoder.partial_rotary_factor=0.5 is not"),
    (("t5gemma",), {"side": {"layer_types": [FULL]}}, "encoder.layer_types=.* is not supported"),
    (("t5gemma",), {"side": {"attn_logit_softcapping": -1.0}}, "attention.softcap=-1.0 must be positive"),
    (("t5gemma",), {"encoder": [1]}, r"encoder=\[1\] must be an object"),
]


@pytest.mark.parametrize("name", [*DECODERS, "modernbert", "roberta-hidden", "t5gemma"])
def test_what_is_not_read_is_refused_by_name(name):
    for names, changes, message in REFUSED:
        if name in names:
            with pytest.raises(UserError, match=message):
                read(json_of(name, **changes))


def test_halves_are_read_and_eighths_and_integers_refused(tmp_path):
    config, _ = exported("qwen3", tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)

    def imported(dtype: torch.dtype) -> ModelConfig:
        save_file({key: value.to(dtype) for key, value in tensors.items()}, file)
        return import_folder(tmp_path)[0]

    assert imported(torch.float16) == imported(torch.bfloat16) == config
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8):
        with pytest.raises(UserError, match=rf"{len(tensors)} of {len(tensors)} tensors are not of float32"):
            imported(dtype)
    change_json(tmp_path, quantization_config={"quant_method": "fp8", "fmt": "e4m3"})
    with pytest.raises(UserError, match="quantization_config says 'fp8'"):
        import_folder(tmp_path)
