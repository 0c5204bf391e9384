"""Tasks: what a model reads and writes of a row of named columns, and how that is scored.

Those imported here are the tasks that there are: a new one is one file and one line.
"""

from t5lite.tasks.classification import CLASSIFICATION as CLASSIFICATION
from t5lite.tasks.task import Task
from t5lite.tasks.translation import TRANSLATION as TRANSLATION

TASKS: dict[str, Task] = {task.name: task for task in list(globals().values()) if isinstance(task, Task)}
"""Every task that a recipe may name."""
