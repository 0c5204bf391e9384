"""Tasks by their names, and out of JSON files."""

from collections.abc import Callable
from typing import Any

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.strict_json import StrictJson
from t5lite.tasks import TASKS
from t5lite.tasks.fields import AnyField
from t5lite.tasks.task import Task

_JSON = StrictJson(unions=(AnyField,))


def check_task(name: str) -> None:
    """Check that this is the name of a task, or may be a file.

    Raises:
      ConfigError: if it is neither, with a suggestion.
    """
    if name not in TASKS and not _is_file(name):
        raise ConfigError(f"unknown task {name!r}{suggestion(name, TASKS)}, or a file that ends in .json")


def open_task(name: str) -> Task:
    """Return a task by its name, or from a JSON file with the fields of ``Task``.

    Raises:
      ConfigError: as ``check_task``, or if the file cannot be read or used.
    """
    check_task(name)
    return TASKS[name] if name in TASKS else _read(place(name))


def task_location(name: str, absolute: Callable[[str], str]) -> str:
    """Return a task's name, or what ``absolute`` makes of the path of its file."""
    return name if name in TASKS else absolute(name)


def to_json(task: Task) -> dict[str, Any]:
    """Return what a task's file says."""
    return _JSON.unstructure(task, Task)


def _is_file(name: str) -> bool:
    return name.endswith(".json")


def _read(path: StoragePath) -> Task:
    if not path.is_file():
        raise ConfigError(f"the task {path} is no file; give one of {', '.join(TASKS)}, or a .json file")
    return _JSON.read(path, Task)
