"""Tasks: by which metrics the texts generated for a kind of pair data are scored.

Those imported here are the tasks that there are: a new one is one file and one line.
"""

from typing import TYPE_CHECKING, Literal, TypeAlias

from t5lite.evaluation.tasks.classification import CLASSIFICATION as CLASSIFICATION
from t5lite.evaluation.tasks.task import Task
from t5lite.evaluation.tasks.translation import TRANSLATION as TRANSLATION

TASKS: dict[str, Task] = {task.name: task for task in list(globals().values()) if isinstance(task, Task)}
"""Every task that a recipe may name; look one up by ``core.registry.lookup(TASKS, name, kind="task")``."""

if TYPE_CHECKING:
    TaskName: TypeAlias = str
else:
    TaskName = Literal[tuple(TASKS)]
"""The name of a task."""
