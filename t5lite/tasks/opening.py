"""Tasks by their names, out of JSON and YAML files, and out of the JSON text that a run keeps of one."""

import json
from collections.abc import Callable
from typing import Any

import yaml

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.storage.addresses import StoragePath, no_bucket, place
from t5lite.core.strict_json import StrictJson, read_text
from t5lite.tasks import TASKS, lm_eval_yaml, seqio_yaml
from t5lite.tasks.fields import AnyField
from t5lite.tasks.task import Task

_JSON = StrictJson(unions=(AnyField,))
_ENDINGS = (".json", ".yaml", ".yml")


def check_task(name: str | None) -> None:
    """Check that this is the name of a task, may be a file, or is what ``kept_task`` returned; None is none.

    Raises:
      ConfigError: if it is none of these, with a suggestion.
    """
    if name is not None and name not in TASKS and not is_task_file(name) and not _is_definition(name):
        raise ConfigError(
            f"unknown task {name!r}{suggestion(name, TASKS)}, or a file that ends in {', '.join(_ENDINGS)}"
        )


def open_task(name: str) -> Task:
    """Return a task by its name, or from a file: JSON or YAML with the fields of ``Task``, or another's YAML.

    Args:
      name: that, the file's, or what ``kept_task`` returned.

    Raises:
      ConfigError: as ``check_task``, or if the file cannot be read or used.
    """
    check_task(name)
    if _is_definition(name):
        return _JSON.parse(name, Task, name="the definition of the task")
    return TASKS[name] if name in TASKS else _read(place(name))


def kept_task(name: str) -> str:
    """Return what stands for a task in a run, which must not need its file again: its name, or all of it.

    Raises:
      ConfigError: as of ``open_task``.
    """
    return as_definition(open_task(name)) if is_task_file(name) else name


def as_definition(task: Task) -> str:
    """Return a text that stands for all of a task, wherever its name may."""
    return json.dumps(to_json(task), ensure_ascii=False)


def task_location(name: str, absolute: Callable[[str], str]) -> str:
    """Return a task's name or definition, or what ``absolute`` makes of the path of its file."""
    return absolute(name) if is_task_file(name) else name


def to_json(task: Task) -> dict[str, Any]:
    """Return what a task's file says; of greedy search nothing, as before there was ``decoding``."""
    content = _JSON.unstructure(task, Task)
    if not task.decoding:  # what runs keep of a task is compared as text
        del content["decoding"]
    return content


def is_task_file(name: str) -> bool:
    """Return whether a recipe names a task by its file."""
    return name not in TASKS and not _is_definition(name) and name.endswith(_ENDINGS)


def _is_definition(name: str) -> bool:
    return name.startswith("{")


def _read(path: StoragePath) -> Task:
    if not path.is_file():
        missing = no_bucket(path)
        raise ConfigError(f"the task {path} is no file{missing}; give yours, or one of {', '.join(TASKS)}")
    if path.suffix == ".json":
        return _JSON.read(path, Task)
    content = _yaml(path)
    for form in (lm_eval_yaml, seqio_yaml):
        if form.MARK in content:
            return form.read(content, name=str(path))
    return _JSON.structure(content, Task, name=str(path))


def _yaml(path: StoragePath) -> dict[str, Any]:
    """Return what a YAML file says, of plain values alone: nothing in it is run or looked up."""
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{path} is no YAML of plain values ({said:.200}); mend it, or give JSON"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{path} is no mapping of a task's fields to their values")
    return content
