"""Configurations of before positions, norm, MLP, attention and initializer were kinds, and execution apart.

Nothing is checked here: a value that no version had stands as it was, for the reader to refuse.
"""

from collections.abc import Mapping
from typing import Any

_Json = dict[str, Any]

_EXECUTION = ("compute_dtype", "param_dtype", "scan_unroll", "remat", "remat_names", "attention")
_COMMON: _Json = {
    "positions": "relative",
    "relpos_buckets": 32,
    "relpos_max_distance": 128,
    "position_offset": 0,
    "rotary_base": 10_000.0,
    "norm": "rms",
    "norm_epsilon": 1e-6,
    "mlp_activation": "gated_gelu",
    "biases": False,
    "scale_attention": False,
    "initializer": "t5",
    "initializer_std": 0.02,
}
_DEFAULTS: dict[str, _Json] = {
    "EncoderDecoderConfig": _COMMON,
    "EncoderOnlyConfig": {
        **_COMMON,
        "positions": "learned",
        "norm": "layer",
        "norm_epsilon": 1e-12,
        "mlp_activation": "gelu",
        "biases": True,
        "scale_attention": True,
        "initializer": "normal",
    },
    "DecoderOnlyConfig": {
        **_COMMON,
        "positions": "rotary",
        "norm_epsilon": 1e-5,
        "mlp_activation": "swiglu",
        "scale_attention": True,
        "initializer": "normal",
    },
}
"""What a field had that a file left out."""


def with_kinds(model: Any) -> tuple[Any, _Json]:
    """Return the JSON form of a model in this version's form, and that of its execution.

    Args:
      model: of before, with its ``type``; what is none is returned as it is.
    """
    if not isinstance(model, Mapping) or str(model.get("type")) not in _DEFAULTS:
        return model, {}
    old = {**_DEFAULTS[model["type"]], **model}
    execution = {name: old.pop(name) for name in _EXECUTION if name in old}
    flat = {name: old.pop(name) for name in _COMMON}
    return {
        **old,
        "positions": _positions(flat),
        "norm": _norm(flat),
        "mlp": _mlp(flat),
        "attention": {
            "scaled": flat["scale_attention"],
            "biases": _named(flat["biases"], {False: "none", True: "all"}),
        },
        "initializer": _initializer(flat),
    }, execution


def _positions(flat: _Json) -> Any:
    relative = {
        "type": "RelativePositions",
        "num_buckets": flat["relpos_buckets"],
        "max_distance": flat["relpos_max_distance"],
    }
    kinds = {
        "relative": relative,
        "relative_per_layer": {**relative, "per_layer": True},
        "learned": {"type": "LearnedPositions", "offset": flat["position_offset"]},
        "sinusoidal": {"type": "SinusoidalPositions"},
        "rotary": {"type": "RotaryPositions", "base": flat["rotary_base"]},
    }
    return _named(flat["positions"], kinds)


def _norm(flat: _Json) -> Any:
    epsilon = flat["norm_epsilon"]
    kinds = {
        "rms": {"type": "RMSNorm", "epsilon": epsilon},
        "layer": {"type": "LayerNorm", "epsilon": epsilon, "bias": flat["biases"]},
    }
    return _named(flat["norm"], kinds)


def _mlp(flat: _Json) -> Any:
    plain, gated = ({"type": kind, "bias": flat["biases"]} for kind in ("PlainMLP", "GatedMLP"))
    kinds = {
        **{name: {**plain, "activation": name} for name in ("relu", "gelu", "gelu_tanh")},
        "gated_gelu": {**gated, "activation": "gelu_tanh"},
        "swiglu": {**gated, "activation": "silu"},
    }
    return _named(flat["mlp_activation"], kinds)


def _initializer(flat: _Json) -> Any:
    normal = {"type": "NormalInitializer", "std": flat["initializer_std"]}
    kinds = {
        "t5": {"type": "T5Initializer"},
        "normal": normal,
        "scaled_normal": {**normal, "scaled_outputs": True},
        "xavier": {"type": "XavierInitializer"},
    }
    return _named(flat["initializer"], kinds)


def _named(value: Any, kinds: Mapping[Any, Any]) -> Any:
    """Return what a word, or a yes or no, stood for; anything else as it is."""
    return kinds.get(value, value) if isinstance(value, str | bool) else value
