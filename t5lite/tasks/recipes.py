"""A task for a recipe: what it says of the data and of the evaluations."""

import dataclasses
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.tasks.opening import kept_task, open_task


def with_task(config: Any, name: str) -> Any:
    """Return a run's configuration whose data has a task's lengths, and whose evaluations score text by it.

    Args:
      config: of the layer above; of a model that does not write, text is not scored.
      name: of the task, or its file.

    Raises:
      ConfigError: if there is no such task, the data is not of pairs, or nothing is written that its decoding
        is for.
    """
    task = open_task(name)
    if task.decoding and not config.model.writes:
        raise ConfigError(
            f"the task {task.name} has a decoding, and an encoder-only model writes no text; leave decoding "
            "out of the task, or take a model that writes"
        )
    scored = name if config.model.writes else None
    evaluations = {
        each: dataclasses.replace(found, task=scored) for each, found in config.evaluations.items()
    }
    data = config.data.with_lengths_of_pairs(
        inputs_length=task.inputs_length, targets_length=task.targets_length
    )
    return dataclasses.replace(config, data=data, evaluations=evaluations)


def with_kept_tasks(config: Any) -> Any:
    """Return a run's configuration which says itself what the files of its tasks say.

    Args:
      config: of the layer above.

    Raises:
      ConfigError: if a file cannot be read or used.
    """
    evaluations = {
        name: dataclasses.replace(each, task=each.task and kept_task(each.task))
        for name, each in config.evaluations.items()
    }
    return dataclasses.replace(config, evaluations=evaluations)
