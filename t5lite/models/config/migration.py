"""Configurations of before positions, norm, MLP, attention and initializer were kinds, and execution apart.

What they said is checked as what it was, so that a message names the field that the file has; its range, the
sizes and the execution, which are as they were, the reader checks.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from t5lite.core.strict_json import StrictJson

_Json = dict[str, Any]

_EXECUTION = ("compute_dtype", "param_dtype", "scan_unroll", "remat", "remat_names", "attention")


@dataclass(frozen=True, kw_only=True)
class _Flat:
    """The fields that kinds replace, each with what a file of an encoder-decoder had that left it out."""

    positions: Literal["relative", "relative_per_layer", "learned", "sinusoidal", "rotary"] = "relative"
    relpos_buckets: int = 32
    relpos_max_distance: int = 128
    position_offset: int = 0
    rotary_base: float = 10_000.0
    norm: Literal["rms", "layer"] = "rms"
    norm_epsilon: float = 1e-6
    mlp_activation: Literal["relu", "gelu", "gelu_tanh", "gated_gelu", "swiglu"] = "gated_gelu"
    biases: bool = False
    scale_attention: bool = False
    initializer: Literal["t5", "normal", "scaled_normal", "xavier"] = "t5"
    initializer_std: float = 0.02


_DEFAULTS = {
    "EncoderDecoderConfig": _Flat(),
    "EncoderOnlyConfig": _Flat(
        positions="learned",
        norm="layer",
        norm_epsilon=1e-12,
        mlp_activation="gelu",
        biases=True,
        scale_attention=True,
        initializer="normal",
    ),
    "DecoderOnlyConfig": _Flat(
        positions="rotary",
        norm_epsilon=1e-5,
        mlp_activation="swiglu",
        scale_attention=True,
        initializer="normal",
    ),
}
"""What a file of each had."""
_FLAT = StrictJson()

RENAMED = {
    "--model.relpos-buckets": ("--model.positions.num-buckets",),
    "--model.relpos-max-distance": ("--model.positions.max-distance",),
    "--model.position-offset": ("--model.positions.offset",),
    "--model.rotary-base": ("--model.positions.base",),
    "--model.norm-epsilon": ("--model.norm.epsilon",),
    "--model.mlp-activation": ("--model.mlp.activation",),
    "--model.biases": ("--model.attention.biases all", "--model.mlp.bias"),
    "--model.no-biases": ("--model.attention.biases none", "--model.mlp.no-bias"),
    "--model.scale-attention": ("--model.attention.scaled",),
    "--model.no-scale-attention": ("--model.attention.no-scaled",),
    "--model.initializer-std": ("--model.initializer.std",),
}
"""Options of before that named a field of its own, and those that name it now."""


def with_kinds(model: Any, *, name: str) -> tuple[Any, _Json]:
    """Return the JSON form of a model in this version's form, and that of its execution.

    Args:
      model: of before, with its ``type``; what is none is returned as it is.
      name: of its field in the file, for messages.

    Raises:
      ConfigError: for a value that a field of before could not have, by that field's name.
    """
    if not isinstance(model, Mapping) or str(model.get("type")) not in _DEFAULTS:
        return model, {}
    old = dict(model)
    execution = {field: old.pop(field) for field in _EXECUTION if field in old}
    given = dataclasses.asdict(_DEFAULTS[model["type"]])
    given |= {field: old.pop(field) for field in given if field in old}
    flat = _FLAT.structure(given, _Flat, name=name)
    return {
        **old,
        "positions": _positions(flat),
        "norm": _norm(flat),
        "mlp": _mlp(flat),
        "attention": {"scaled": flat.scale_attention, "biases": "all" if flat.biases else "none"},
        "initializer": _initializer(flat),
    }, execution


def _positions(flat: _Flat) -> _Json:
    relative = {
        "type": "RelativePositions",
        "num_buckets": flat.relpos_buckets,
        "max_distance": flat.relpos_max_distance,
    }
    kinds = {
        "relative": relative,
        "relative_per_layer": {**relative, "per_layer": True},
        "learned": {"type": "LearnedPositions", "offset": flat.position_offset},
        "sinusoidal": {"type": "SinusoidalPositions"},
        "rotary": {"type": "RotaryPositions", "base": flat.rotary_base},
    }
    return kinds[flat.positions]


def _norm(flat: _Flat) -> _Json:
    epsilon = flat.norm_epsilon
    kinds = {
        "rms": {"type": "RMSNorm", "epsilon": epsilon},
        "layer": {"type": "LayerNorm", "epsilon": epsilon, "bias": flat.biases},
    }
    return kinds[flat.norm]


def _mlp(flat: _Flat) -> _Json:
    plain, gated = ({"type": kind, "bias": flat.biases} for kind in ("PlainMLP", "GatedMLP"))
    kinds = {
        **{name: {**plain, "activation": name} for name in ("relu", "gelu", "gelu_tanh")},
        "gated_gelu": {**gated, "activation": "gelu_tanh"},
        "swiglu": {**gated, "activation": "silu"},
    }
    return kinds[flat.mlp_activation]


def _initializer(flat: _Flat) -> _Json:
    normal = {"type": "NormalInitializer", "std": flat.initializer_std}
    kinds = {
        "t5": {"type": "T5Initializer"},
        "normal": normal,
        "scaled_normal": {**normal, "scaled_outputs": True},
        "xavier": {"type": "XavierInitializer"},
    }
    return kinds[flat.initializer]
