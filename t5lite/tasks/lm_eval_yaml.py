"""Tasks of EleutherAI's lm-evaluation-harness, as far as they are templates of columns."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from t5lite.core.errors import ConfigError, suggestion
from t5lite.tasks.fields import Answers, Label, TaskField
from t5lite.tasks.task import Splits, Task

MARK = "doc_to_text"
"""The field by which such a file is known."""
_NAME = r"[A-Za-z_][\w.]*(?:\[\d+\])*"
_COLUMN = re.compile(rf"\{{\{{\s*({_NAME})\s*\}}\}}")
_METRICS = {
    "acc": "accuracy",
    "mcc": "matthews",
    "bleu": "bleu",
    "chrf": "chrf",
    "rouge1": "rouge1",
    "rouge2": "rouge2",
    "rougeL": "rouge_l",
}
"""Metrics of both, by the harness's name, besides ``exact_match``."""
_OF_BEAMS = ("length_penalty", "early_stopping")
_SEARCH = ("num_beams", *_OF_BEAMS, "no_repeat_ngram_size", "repetition_penalty", "min_new_tokens")
"""Options of ``generation_kwargs`` that transformers and ``t5lite generate`` call the same."""
_SOURCE = ("dataset_path", "dataset_name", "dataset_kwargs", "test_split", "fewshot_split")
"""Where its rows come from: here they are of files that the user names."""
_SAYS_NOTHING = (
    *("tag", "group", "metadata", "task_alias"),
    *("should_decontaminate", "doc_to_decontamination_query"),
)
_KNOWN = (
    *(
        "task",
        "description",
        "output_type",
        "doc_to_text",
        "doc_to_target",
        "doc_to_choice",
        "target_delimiter",
    ),
    *(
        "fewshot_delimiter",
        "num_fewshot",
        "metric_list",
        "generation_kwargs",
        "training_split",
        "filter_list",
    ),
    *("validation_split", "filter_list", *_SOURCE, *_SAYS_NOTHING),
)


def read(content: Mapping[str, Any], *, name: str) -> Task:
    """Return the task that such a file describes; messages call it ``name``.

    ``doc_to_text`` and ``doc_to_target`` may have ``{{column}}`` and ``{{column[0]}}``, no other Jinja, or be
    a column's name. With ``doc_to_choice`` the target is a choice's number or text, else an answer or a list
    of answers that are all right.

    Raises:
      ConfigError: naming the first field that does not map.
    """

    def refuse(field: str, why: str) -> ConfigError:
        return ConfigError(f"{name}: {field} of the lm-evaluation-harness does not map to a task here: {why}")

    for field in content:
        if field not in _KNOWN:
            raise refuse(field, f"it is none of {', '.join(_KNOWN)}")
    kind = content.get("output_type", "generate_until")
    if kind not in ("generate_until", "greedy_until", "multiple_choice"):
        raise refuse("output_type", f"{kind!r} is neither generate_until nor multiple_choice")
    if kind == "multiple_choice" and "doc_to_choice" not in content:
        raise refuse("output_type", "multiple_choice needs doc_to_choice")
    target, fields = _target(content, refuse)
    settings: dict[str, Any] = {}
    for theirs, ours in (("target_delimiter", "answer_delimiter"), ("fewshot_delimiter", "shot_delimiter")):
        if theirs in content:
            settings[ours] = _text(content[theirs], theirs, refuse)
    if "num_fewshot" in content:
        settings["shots"] = _whole(content["num_fewshot"], "num_fewshot", refuse)
    _check_filters(content.get("filter_list", []), refuse)
    settings |= _generated(content.get("generation_kwargs", {}), refuse)
    return Task(
        name=_text(content.get("task", "task"), "task", refuse),
        inputs=_braces(_text(content.get("description", ""), "description", refuse), "description", refuse)
        + _inputs(_text(content["doc_to_text"], "doc_to_text", refuse), refuse),
        targets=target,
        fields=fields,
        metrics=_metrics(content.get("metric_list", [{"metric": "acc"}]), fields, refuse),
        splits=_splits(content),
        **settings,
    )


Refuse = Callable[[str, str], ConfigError]


def _text(value: Any, field: str, refuse: Refuse) -> str:
    if not isinstance(value, str):
        raise refuse(field, f"{value!r} is no text")
    return value


def _whole(value: Any, field: str, refuse: Refuse) -> int:
    if type(value) is not int:
        raise refuse(field, f"{value!r} is no whole number")
    return value


def _braces(template: str, field: str, refuse: Refuse) -> str:
    """Return a template of ours: ``{{column}}`` becomes ``{column}``, and braces are doubled."""
    parts = _COLUMN.split(template)
    for literal in parts[::2]:
        if "{{" in literal or "{%" in literal or "{#" in literal:
            raise refuse(field, f"{literal.strip()[:60]!r} is Jinja beyond {{{{column}}}}")
    literals = [literal.replace("{", "{{").replace("}", "}}") for literal in parts[::2]]
    columns = [f"{{{_dotted(column)}}}" for column in parts[1::2]]
    return "".join(part for pair in zip(literals, [*columns, ""], strict=True) for part in pair)


def _dotted(column: str) -> str:
    """Return the name that a column or an item of it has here: ``choices.0`` for ``choices[0]``."""
    return column.replace("[", ".").replace("]", "")


def _inputs(template: str, refuse: Refuse) -> str:
    if re.fullmatch(_NAME, template):  # which the harness takes for a column, too
        return f"{{{_dotted(template)}}}"
    return _braces(template, "doc_to_text", refuse)


def _check_filters(filters: Any, refuse: Refuse) -> None:
    """Check that answers are only stripped, as they are here in any case."""
    steps = [
        step.get("function") if isinstance(step, dict) else step
        for each in (filters if isinstance(filters, list) else [filters])
        for step in (each.get("filter", [None]) if isinstance(each, dict) else [each])
    ]
    for step in steps:
        if step not in ("remove_whitespace", "take_first"):
            raise refuse("filter_list", f"{step!r} is neither remove_whitespace nor take_first")


def _target(content: Mapping[str, Any], refuse: Refuse) -> tuple[str, dict[str, TaskField]]:
    target = _text(content.get("doc_to_target"), "doc_to_target", refuse).strip()
    column = target if re.fullmatch(_NAME, target) else None
    if column is None and (found := _COLUMN.fullmatch(target)):
        column = found[1]
    column = column and _dotted(column)
    choices = content.get("doc_to_choice")
    if choices is None:
        if column is not None:
            return f"{{{column}}}", {column: Answers()}
        return _braces(target, "doc_to_target", refuse), {}
    if column is None:
        raise refuse("doc_to_target", f"of several choices it must be a column, not {target!r}")
    if isinstance(choices, list) and all(isinstance(choice, str) for choice in choices):
        return f"{{{column}}}", {column: Label(names=tuple(choice.strip() for choice in choices))}
    raise refuse("doc_to_choice", f"{choices!r} is no list of texts")


def _metrics(given: Any, fields: Mapping[str, TaskField], refuse: Refuse) -> tuple[str, ...]:
    names = []
    two_classes = [each.names for each in fields.values() if isinstance(each, Label) and len(each.names) == 2]
    for each in given if isinstance(given, list) else [given]:
        metric = each.get("metric") if isinstance(each, dict) else None
        if isinstance(each, dict) and each.get("regexes_to_ignore"):
            raise refuse("metric_list.regexes_to_ignore", f"{each['regexes_to_ignore']!r}")
        if metric == "f1" and two_classes:  # of the second class, which is number 1
            names.append(f"f1:{two_classes[0][1]}")
            continue
        if metric == "exact_match":  # of the very text, which is accuracy here, or of SQuAD's normalised one
            loosely = each.get("ignore_case") or each.get("ignore_punctuation")
            names.append("exact_match" if loosely else "accuracy")
            continue
        if not isinstance(metric, str) or metric not in _METRICS:
            raise refuse(
                "metric_list", f"{metric or each!r} is no metric of both{suggestion(str(metric), _METRICS)}"
            )
        names.append(_METRICS[metric])
    return tuple(dict.fromkeys(names))


def _generated(given: Any, refuse: Refuse) -> dict[str, Any]:
    """Return a task's fields: the greatest length, and how text is written if not by greedy search alone."""
    if not isinstance(given, dict):
        raise refuse("generation_kwargs", f"{given!r} is no mapping")
    drawn = {"do_sample": (False,), "temperature": (0, 0.0, 1, 1.0)}
    for option, value in given.items():
        known = option in ("until", "max_gen_toks", *_SEARCH, *drawn)
        if not known or value not in drawn.get(option, (value,)):
            searches = f"text that is scored is written by greedy or beam search, of {', '.join(_SEARCH)}"
            raise refuse(f"generation_kwargs.{option}", f"{value!r}; {searches}")
    fields: dict[str, Any] = {}
    if (length := given.get("max_gen_toks")) is not None:
        fields["targets_length"] = _whole(length, "generation_kwargs.max_gen_toks", refuse)
    decoding = {option: given[option] for option in _SEARCH if option in given}
    num_beams = _whole(decoding.pop("num_beams", 1), "generation_kwargs.num_beams", refuse)
    if num_beams != 1:
        decoding = {"strategy": "beam", "num_beams": num_beams, **decoding}
    for option in _OF_BEAMS:
        if option in decoding and num_beams == 1:
            raise refuse(f"generation_kwargs.{option}", f"{decoding[option]!r}; it is of several num_beams")
    if "early_stopping" in decoding:
        decoding["early_stopping"] = str(decoding["early_stopping"]).lower()
    return {**fields, "decoding": decoding}


def _splits(content: Mapping[str, Any]) -> Splits:
    usual = Splits()
    train, heldout = content.get("training_split"), content.get("validation_split")
    return Splits(
        train=usual.train if train is None else (str(train),),
        heldout=usual.heldout if heldout is None else (str(heldout),),
    )
