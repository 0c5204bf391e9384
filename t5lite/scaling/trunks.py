"""Which runs of a sweep are the same run up to a step that one of them keeps, so that it is trained once.

Runs whose settings differ in nothing but their length and schedule, and whose rates are the same up to a
step, are one run until then: the longer one goes on from there (``continue_from``) and is what it would be
alone. So the constant phase of runs that decay at several lengths, the trunk of their branches, is trained
once, each run going on where the next shorter one begins to decay; a longer one that is added later costs its
own steps alone.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from t5lite.run_config import RunConfig, to_json

_BLOCK = 1 << 15
"""Steps whose rates are compared at once: arrays of one shape are compiled for once."""


class Shared(NamedTuple):
    """What a run shares with a shorter one."""

    run: str
    """Id of that run."""
    step: int
    """Up to which they are the same, and which that one keeps."""


def shared_parts(runs: Mapping[str, RunConfig]) -> dict[str, Shared]:
    """Return the longest part that runs share with a shorter one that keeps its end, by their ids.

    Args:
      runs: by their ids.
    """
    alike: dict[str, list[str]] = {}
    if any(run.checkpoints.keep_steps for run in runs.values()):
        for name, run in runs.items():
            alike.setdefault(_alike(run), []).append(name)
    found = {name: _shared(name, group, runs) for group in alike.values() for name in group}
    return {name: shared for name, shared in found.items() if shared is not None}


def _alike(config: RunConfig) -> str:
    """Return what a run is but for its length, its schedule, and where and when it saves."""
    values = to_json(config)
    for name in ("run_dir", "schedule", "checkpoints"):
        del values[name]
    del values["training"]["total_steps"]
    return json.dumps(values, sort_keys=True)


def _shared(name: str, group: Sequence[str], runs: Mapping[str, RunConfig]) -> Shared | None:
    run = runs[name]
    shorter = [each for each in group if runs[each].training.total_steps < run.training.total_steps]
    kept = [
        Shared(each, step)
        for each in shorter
        for step in runs[each].checkpoints.keep_steps
        if _first_step(runs[each]) < step <= runs[each].training.total_steps
    ]
    kept.sort(key=lambda shared: -shared.step)
    return next((each for each in kept if _have_same_rates(runs[each.run], run, each.step)), None)


def _first_step(config: RunConfig) -> int:
    """Return the step that a run begins at, before which it saves nothing."""
    return 0 if config.continue_from is None else config.continue_from.step


def _have_same_rates(one: RunConfig, other: RunConfig, num_steps: int) -> bool:
    mine, others = (each.schedule.build(each.training.total_steps) for each in (one, other))
    for first in range(0, num_steps, _BLOCK):
        steps = np.arange(first, first + _BLOCK)
        if np.any((mine(steps) != others(steps)) & (steps < num_steps)):
            return False
    return True
