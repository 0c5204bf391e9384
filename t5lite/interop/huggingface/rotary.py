"""Rotary positions as config.json says them: their base, and what stretches the context."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from t5lite.interop.huggingface.family import Values
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


def read_rotary(values: Values, *, kinds: Collection[str] = tuple(_KINDS)) -> RotaryPositions:
    """Return the positions of ``rope_scaling`` and ``rope_theta``, or ``rope_parameters`` (transformers 5).

    Args:
      values: of config.json.
      kinds: what ``rope_type`` may be.

    Raises:
      UserError: for another scaling, and for positions of a part of each head or of each kind of layers.
    """
    # Of both keys, transformers takes the first one, if it says anything.
    said = next((values.part(key) for key in ("rope_scaling", "rope_parameters") if values.get(key)), None)
    scaling = values.part("rope_scaling") if said is None else said
    for each in (values, scaling):
        each.require({"partial_rotary_factor": (1.0,)})
    scaling.refuse_parts()
    written = "rope_type" if scaling.get("rope_type") is not None else "type"
    name = scaling.choice(written, {kind: kind for kind in kinds}, "default")
    kind = _KINDS[name]
    fields: dict[str, Any] = {ours: scaling.number(key) for key, ours in kind.numbers.items()}
    fields |= {ours: scaling.integer(key) for key, ours in kind.integers.items()}
    base = scaling.number("rope_theta", values.number("rope_theta", _BASE))
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
