"""A configuration as JSON, its kinds by name."""

from typing import Any

from t5lite.core.strict_json import StrictJson
from t5lite.models.config import PARTS, ModelConfig

_JSON = StrictJson(unions=(*PARTS, ModelConfig))


def to_json(config: ModelConfig) -> dict[str, Any]:
    """Return the JSON form of a model's configuration; each kind carries its class as ``type``."""
    return _JSON.unstructure(config, ModelConfig)
