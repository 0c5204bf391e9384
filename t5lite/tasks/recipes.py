"""A task for a recipe: what it says of the data and of the evaluations."""

import dataclasses
from typing import Any

from t5lite.tasks.opening import open_task


def with_task(config: Any, name: str) -> Any:
    """Return a run's configuration whose data has a task's lengths, and whose evaluations score text by it.

    Args:
      config: of the layer above; of a model that does not write, text is not scored.
      name: of the task, or its file.

    Raises:
      ConfigError: if there is no such task, or the data is not of pairs.
    """
    task = open_task(name)
    scored = name if config.model.writes else None
    evaluations = {
        each: dataclasses.replace(found, task=scored) for each, found in config.evaluations.items()
    }
    data = config.data.with_lengths_of_pairs(
        inputs_length=task.inputs_length, targets_length=task.targets_length
    )
    return dataclasses.replace(config, data=data, evaluations=evaluations)
