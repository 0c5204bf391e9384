"""Rotary positions as config.json says them: their base, and what stretches the context."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t5lite.core.errors import UserError
from t5lite.interop.huggingface.family import Values, unsupported
from t5lite.models.config import (
    LinearScaling,
    Llama3Scaling,
    RotaryPositions,
    RotaryScaling,
    Unscaled,
)

_BASE = 10_000.0


@dataclass(frozen=True)
class _Kind:
    scaling: type[RotaryScaling]
    numbers: Mapping[str, str]
    """Fields of the class by key."""
    integers: Mapping[str, str]


_KINDS: dict[str, _Kind] = {
    "default": _Kind(Unscaled, {}, {}),
    "linear": _Kind(LinearScaling, {"factor": "factor"}, {}),
    "llama3": _Kind(
        Llama3Scaling,
        {
            "factor": "factor",
            "low_freq_factor": "low_frequency_factor",
            "high_freq_factor": "high_frequency_factor",
        },
        {"original_max_position_embeddings": "original_max_length"},
    ),
}
"""By ``rope_type``."""


def read_rotary(values: Values, *, default_base: float = _BASE) -> RotaryPositions:
    """Return the positions of ``rope_parameters`` (transformers 5), or ``rope_scaling`` and ``rope_theta``.

    Raises:
      UserError: for another scaling than none, linear and that of Llama 3.1.
    """
    base, scaling = values.number("rope_theta", default_base), values
    for key in ("rope_parameters", "rope_scaling"):
        parameters = values.get(key, {})
        if not isinstance(parameters, dict):
            raise UserError(f"config.json: {key}={parameters!r} must be an object")
        if parameters:
            scaling = Values(parameters)
            base = scaling.number("rope_theta", base)
            break
    name = scaling.get("rope_type", scaling.get("type", "default"))
    if name not in _KINDS:
        raise unsupported("rope_type", name, _KINDS)
    kind = _KINDS[name]
    fields: dict[str, Any] = {ours: scaling.number(key) for key, ours in kind.numbers.items()}
    fields |= {ours: scaling.integer(key) for key, ours in kind.integers.items()}
    return RotaryPositions(base=base, scaling=kind.scaling(**fields))


def rotary_json(positions: RotaryPositions) -> dict[str, Any]:
    """Return the keys that ``read_rotary`` reads; transformers 4 reads the first two, 5 the last."""
    name, kind = next(
        (name, kind) for name, kind in _KINDS.items() if kind.scaling is type(positions.scaling)
    )
    keys = {**kind.numbers, **kind.integers}
    scaling = {"rope_type": name, **{key: getattr(positions.scaling, ours) for key, ours in keys.items()}}
    return {
        "rope_theta": positions.base,
        "rope_scaling": scaling if keys else None,
        "rope_parameters": {**scaling, "rope_theta": positions.base},
    }
