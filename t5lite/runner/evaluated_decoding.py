"""Options of decoding that an evaluation is given, in place of those of its task."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.evaluation.config import EvaluationConfig
from t5lite.tasks.opening import as_definition, open_task

Decoding = Mapping[str, Any]
"""Options of ``decoding.options``."""


def replaced(config: EvaluationConfig, decoding: Decoding | None) -> EvaluationConfig:
    """Return ``config`` with a task that has this decoding; one that is not another is as it was."""
    if decoding is None or config.task is None:
        return config
    task = open_task(config.task)
    chosen = {} if dict(decoding) == {"strategy": "greedy"} else dict(decoding)
    if chosen == dict(task.decoding):
        return config
    return dataclasses.replace(config, task=as_definition(dataclasses.replace(task, decoding=chosen)))


def about(decoding: Decoding | None, tasks: Mapping[str, str | None]) -> list[str]:
    """Return what to say of the tasks, by evaluation, whose own decoding is not taken.

    Raises:
      ConfigError: if there is a decoding, and no task to write for.
    """
    if decoding is None:
        return []
    own = [dict(open_task(task).decoding) for task in tasks.values() if task is not None]
    if not own:
        raise ConfigError(
            f"no evaluation ({', '.join(tasks)}) has a task, so that no text is written and there is nothing "
            "for options of decoding; leave them out, or give a task by --task"
        )
    others = [json.dumps(each) for each in own if each and each != dict(decoding)]
    return [f"not taken is the task's own decoding, {each}" for each in dict.fromkeys(others)]
