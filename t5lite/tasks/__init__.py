"""Tasks: what a kind of text pairs is for, and by which metrics what a model writes is scored.

Those imported here are the tasks that there are: a new one is one file and one line.
"""

from t5lite.core.registry import lookup
from t5lite.tasks.classification import CLASSIFICATION as CLASSIFICATION
from t5lite.tasks.task import Task
from t5lite.tasks.translation import TRANSLATION as TRANSLATION

TASKS: dict[str, Task] = {task.name: task for task in list(globals().values()) if isinstance(task, Task)}
"""Every task that a recipe may name."""


def open_task(name: str) -> Task:
    """Return a task by its name.

    Raises:
      ConfigError: if there is none, with a suggestion.
    """
    return lookup(TASKS, name, kind="task")
