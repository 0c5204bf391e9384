"""Tasks as seqio's registry has them, written as YAML: a source, preprocessors, output features, metrics.

name: headlines
preprocessors:
- rekey: {key_map: {inputs: article, targets: headline}}
- tokenize
- append_eos
output_features: {inputs: {max_length: 256}, targets: {max_length: 32}}
metric_fns: [rouge]
"""

from collections.abc import Callable, Mapping
from typing import Any

from t5lite.core.errors import ConfigError, suggestion
from t5lite.tasks.fields import Answers, PaddedPunctuation, TaskField
from t5lite.tasks.task import Task

MARK = "preprocessors"
"""The field by which such a file is known."""
_KNOWN = ("name", "source", "preprocessors", "output_features", "metric_fns")
_METRICS: dict[str, tuple[str, ...]] = {
    "accuracy": ("accuracy",),
    "bleu": ("bleu",),
    "rouge": ("rouge1", "rouge2", "rouge_lsum"),
    "squad": ("exact_match", "token_f1"),
    "trivia_qa": ("exact_match", "token_f1"),
    "pearson_corrcoef": ("pearson",),
    "spearman_corrcoef": ("spearman",),
}
_TOKENISING = ("tokenize", "append_eos", "append_eos_after_trim", "CacheDatasetPlaceholder")
"""What every task has done to it here, when it is prepared and read."""


def _rekey(arguments: Mapping[str, Any]) -> dict[str, Any]:
    keys = arguments["key_map"]
    return {"inputs": f"{{{keys['inputs']}}}", "targets": f"{{{keys['targets']}}}"}


def _translate(arguments: Mapping[str, Any]) -> dict[str, Any]:
    source, target = arguments["source_language"], arguments["target_language"]
    names = {"en": "English", "de": "German", "fr": "French", "ro": "Romanian", "es": "Spanish"}
    said = [names[str(code)[:2]] for code in (source, target)]
    return {"inputs": f"translate {said[0]} to {said[1]}: {{{source}}}", "targets": f"{{{target}}}"}


def _summarize(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "inputs": f"summarize: {{{arguments['article_key']}}}",
        "targets": f"{{{arguments['summary_key']}}}",
    }


def _squad(arguments: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, TaskField] = {
        "question": PaddedPunctuation(),
        "context": PaddedPunctuation(),
        "answers.text": Answers(pad_punctuation=True),
    }
    if arguments.get("include_context", True):
        inputs = "question: {question} context: {context}"
    else:
        inputs = "squad trivia question: {question}"
        del fields["context"]
    return {"inputs": inputs, "targets": "{answers.text}", "fields": fields}


_PREPROCESSORS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "rekey": _rekey,
    "translate": _translate,
    "summarize": _summarize,
    "squad": _squad,
}


def read(content: Mapping[str, Any], *, name: str) -> Task:
    """Return the task that such a file describes; messages call it ``name``.

    One of the preprocessors makes inputs and targets of columns: ``rekey``, ``translate``, ``summarize`` or
    ``squad``. ``source`` is not read: rows are of files that the user names.

    Raises:
      ConfigError: naming the first field, preprocessor or metric that does not map.
    """

    def refuse(what: str, known: Any) -> ConfigError:
        return ConfigError(f"{name}: {what!r} of seqio does not map to a task here{suggestion(what, known)}")

    for field in content:
        if field not in _KNOWN:
            raise refuse(field, _KNOWN)
    made: dict[str, Any] = {}
    for each in _listed(content["preprocessors"], "preprocessors", name):
        ((step, arguments),) = each.items() if isinstance(each, dict) and len(each) == 1 else ((each, {}),)
        if step in _TOKENISING:
            continue
        if step not in _PREPROCESSORS or made:
            raise refuse(str(step), [*_PREPROCESSORS, *_TOKENISING])
        try:
            made = _PREPROCESSORS[step](arguments or {})
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{name}: {step} lacks {error}, or has a value that is unknown here") from error
    if not made:
        raise ConfigError(
            f"{name}: none of preprocessors makes inputs and targets; use {', '.join(_PREPROCESSORS)}"
        )
    metrics: list[str] = []
    for metric in _listed(content.get("metric_fns", ["accuracy"]), "metric_fns", name):
        if metric not in _METRICS:
            raise refuse(str(metric), _METRICS)
        metrics += _METRICS[metric]
    return Task(
        name=str(content.get("name", "task")),
        metrics=tuple(dict.fromkeys(metrics)),
        **_lengths(content.get("output_features", {}), name),
        **made,
    )


def _listed(value: Any, field: str, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{name}: {field}={value!r} must be a list")
    return value


def _lengths(features: Any, name: str) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for side, feature in (features or {}).items():
        length = feature.get("max_length") if isinstance(feature, dict) and len(feature) == 1 else None
        if side not in ("inputs", "targets") or type(length) is not int:
            raise ConfigError(
                f"{name}: output_features.{side}={feature!r}; inputs and targets have a max_length, no more"
            )
        lengths[f"{side}_length"] = length
    return lengths
