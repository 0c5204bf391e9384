"""Stable names of a sweep's runs: a digest of what decides what a run learns and what is measured of it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t5lite.core.python_source import chosen_fields
from t5lite.run_config import RunConfig
from t5lite.runner.config_changes import Effect, effect_of
from t5lite.runner.run_directory import RunDirectory
from t5lite.tasks.opening import kept_task

_DIGITS = 10
_FROM_THE_START = ("data", "evaluations", "initialize_from", "continue_from", "trainable", "training")
"""What ``config_changes`` lets a run change as it goes on, though another run it would be from the start."""
_WATCHING = ("log_every_steps", "profile_start_step", "profile_num_steps", "check_replicas_every_steps")
"""Fields of ``training`` that only watch it."""


def run_id(config: RunConfig, identity: Callable[[str], str]) -> str:
    """Return the name of a run, the same wherever its stores lie and on whatever mesh it is trained.

    Fields that have their default do not count, so that a field that is new in a later version changes
    nothing.

    Args:
      config: of the run.
      identity: digest of the contents of a store (``store_identity``).

    Raises:
      DataError: as of ``identity``.
      ConfigError: if the file of a task, or the config.json of the run that it begins with, cannot be read.
    """
    origins = {"initialize_from": config.initialize_from, "continue_from": config.continue_from}
    named = dataclasses.replace(
        config,
        data=config.data.with_stores(identity),
        evaluations={
            name: dataclasses.replace(
                each, store=identity(each.store), task=each.task and kept_task(each.task)
            )
            for name, each in config.evaluations.items()
        },
        **{
            name: dataclasses.replace(origin, run=_source_identity(origin.run))
            for name, origin in origins.items()
            if origin is not None
        },
    )
    return _digest(_said(named, ()))


def _source_identity(run: str) -> str:
    """Return a digest of a run's config.json, which goes along where it is copied; without one, its path."""
    values = RunDirectory.at(run).read_config_values()
    return run if values is None else _digest(values)


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _matters(path: Sequence[str]) -> bool:
    if path[0] == "training" and path[-1] in _WATCHING:
        return False
    return path[0] in _FROM_THE_START or effect_of(path) is not Effect.NOTHING


def _said(value: Any, path: tuple[str, ...]) -> Any:
    """Return what a configuration says, as values of JSON."""
    if dataclasses.is_dataclass(value):
        return _fields(value, path)
    if isinstance(value, Mapping):
        return {name: _said(each, (*path, name)) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_said(each, path) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _fields(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    content: dict[str, Any] = {"type": type(value).__name__}
    for name, each in chosen_fields(value).items():
        where = (*path, name)
        said = _said(each, where)
        has_any = dataclasses.is_dataclass(each) and len(said) > 1  # some of its own fields matter
        if has_any or _matters(where):
            content[name] = said
    return content
