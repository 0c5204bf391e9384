"""What older versions of t5lite wrote into ``config.json``, made what this one reads."""

from typing import Any

from t5lite.core.metric_order import lower_is_better
from t5lite.core.migrations import Versions, unchanged
from t5lite.data.objectives import SpanCorruption
from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.config.migration import with_kinds
from t5lite.training.metrics_log import UNNAMED_EVALUATION


def _with_types(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 0, in which the only model and the only objective of a time had no ``type``."""

    def typed(parent: Any, field: str, kind: str) -> Any:
        value = parent.get(field) if isinstance(parent, dict) else None
        return {**parent, field: {"type": kind, **value}} if isinstance(value, dict) else parent

    data = typed(content.get("data"), "objective", SpanCorruption.__name__)
    return {**typed(content, "model", EncoderDecoderConfig.__name__), **({"data": data} if data else {})}


def _with_named_step(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 1, in which None stood for the newest checkpoint."""
    source = content.get("initialize_from")
    if not isinstance(source, dict) or source.get("step", 0) is not None:
        return content
    return {**content, "initialize_from": {**source, "step": "newest"}}


def _with_named_evaluations(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 3, in which there was one evaluation, without a name and perhaps without a store."""
    content = dict(content)
    evaluation = content.pop("evaluation", {})
    has_none = isinstance(evaluation, dict) and evaluation.get("store") is None
    return {**content, "evaluations": {} if has_none else {UNNAMED_EVALUATION: evaluation}}


def _with_execution(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 4, in which the model said how it is computed, too."""
    if "model" not in content:
        return content
    model, execution = with_kinds(content["model"], name="model")
    return {**content, "model": model, "execution": execution}


def _with_frame(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 6, in which EOS followed the inputs of every pair that an encoder-decoder reads."""

    def framed(data: Any) -> Any:
        is_pairs = isinstance(data, dict) and data.get("type") == "PairsDataConfig"
        return {**data, "frame": "eos"} if is_pairs else data

    model, data = content.get("model"), content.get("data")
    if not isinstance(model, dict) or model.get("type") != "EncoderDecoderConfig":
        return content
    if isinstance(data, dict) and isinstance(data.get("sources"), list):
        sources = [
            {**each, "data": framed(each.get("data"))} if isinstance(each, dict) and "data" in each else each
            for each in data["sources"]
        ]
        return {**content, "data": {**data, "sources": sources}}
    return {**content, "data": framed(data)} if "data" in content else content


def _with_best_by_name(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 8, in which what is best was the lowest unless said otherwise."""
    checkpoints = content.get("checkpoints")
    if not isinstance(checkpoints, dict) or checkpoints.get("best_is") != "lowest":
        return content
    metric = checkpoints.get("best_metric", "loss")
    if not isinstance(metric, str) or not lower_is_better(metric):
        return content
    return {**content, "checkpoints": {**checkpoints, "best_is": None}}


VERSIONS = Versions(
    {
        0: _with_types,
        1: _with_named_step,
        2: unchanged,
        3: _with_named_evaluations,
        4: _with_execution,
        5: unchanged,
        6: _with_frame,
        7: unchanged,
        8: _with_best_by_name,
        9: unchanged,
    }
)
"""Of ``config.json``."""
