"""Averaged parameters of a run: of its last checkpoints, or the moving average that its training kept."""

from collections.abc import Collection
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from etils import epath

from t5lite.checkpointing import reading
from t5lite.checkpointing.partial import RestoreReport, report_of, restore_params
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.optim.base import to_float32
from t5lite.partitioning.agreed_errors import in_all_or_none, leaders_result

Average: TypeAlias = int | Literal["ema"]
"""Which parameters of a run are taken: the mean of so many of its last checkpoints, up to the chosen one, or
the exponential moving average in the chosen one."""

_STATE, _AVERAGE = "opt_state", "average"
_PREFIX = f"{_AVERAGE}."


def check_average(average: Average | None) -> None:
    """Check what can be checked without a run.

    Raises:
      ConfigError: for no checkpoint.
    """
    if average != "ema" and average is not None and average < 1:
        raise ConfigError(f"average={average} must be 1 or more (checkpoints), or ema")


def restore_average(
    directory: epath.PathLike,
    abstract_params: Tree,
    step: int,
    average: Average | None,
    *,
    max_host_bytes: int,
    leave: Collection[str] = (),
) -> tuple[Tree, RestoreReport, str]:
    """Return parameters of a run, the report of the chosen checkpoint, and what they are, in words.

    Args:
      directory: the checkpoint directory of a run.
      abstract_params: as of ``restore_params``.
      step: the chosen checkpoint.
      average: None takes the parameters of that checkpoint as they are.
      max_host_bytes: as of ``restore_params``.
      leave: dotted names of parameters of a checkpoint that are not wanted.

    Raises:
      ConfigError: if there are not so many checkpoints, or the run kept no moving average.
      CheckpointError: as of ``restore_params``.
    """

    def restored(each: int) -> Tree:
        params, _ = restore_params(
            directory, abstract_params, each, leave=leave, max_host_bytes=max_host_bytes
        )
        return params

    if average is None:
        params, words = restored(step), f"of step {step}"
    elif average == "ema":
        params = _moving_average(directory, abstract_params, step, max_host_bytes, leave)
        words = f"of step {step}, the moving average"
    else:
        steps = _last(directory, step, average)
        total = to_float32(restored(steps[0]))
        for each in steps[1:]:
            total = jax.tree.map(jnp.add, total, restored(each))
        params = jax.tree.map(
            lambda leaf, like: (leaf / len(steps)).astype(like.dtype), total, abstract_params
        )
        words = f"the mean of steps {', '.join(map(str, steps))}"
    return params, report_of(directory, step, params), words


def _last(directory: epath.PathLike, step: int, num: int) -> list[int]:
    """Return the last checkpoints up to one of them."""
    steps = [each for each in leaders_result(lambda: reading.available_steps(directory)) if each <= step]
    if len(steps) < num:
        raise ConfigError(
            f"average={num} needs so many checkpoints up to step {step}, and {directory} has {len(steps)} "
            f"({', '.join(map(str, steps))}); average fewer, or train with checkpoints.keep_last={num}"
        )
    return steps[-num:]


def _moving_average(
    directory: epath.PathLike, abstract_params: Tree, step: int, max_host_bytes: int, leave: Collection[str]
) -> Tree:
    """Return the moving average, and the parameters themselves where nothing was trained."""
    saved = in_all_or_none(lambda: reading.saved_shapes(directory, step, _STATE))
    averaged = {name.removeprefix(_PREFIX) for name in saved if name.startswith(_PREFIX)}
    if not averaged:
        raise ConfigError(
            f"average=ema: {directory} has no moving average of step {step}, for it was trained without "
            "training.ema_decay; average the last checkpoints, or train with that"
        )
    names = reading.leaf_names(abstract_params)
    wanted = dict(zip(names, jax.tree.leaves(abstract_params), strict=True))
    average = reading.nested_from_names({name: wanted[name] for name in names if name in averaged})
    frozen = reading.nested_from_names({name: wanted[name] for name in names if name not in averaged})
    state = reading.read_state(
        directory,
        step,
        {_STATE: {_AVERAGE: average}, "params": frozen},
        partial=True,
        leave={f"{_STATE}.{name}" for name in saved if not name.startswith(_PREFIX)}
        | {f"params.{name}" for name in averaged.union(leave)}
        | {f"{_STATE}.{_PREFIX}{name}" for name in leave},
        max_host_bytes=max_host_bytes,
    )
    by_name = {
        **dict(zip(reading.leaf_names(average), jax.tree.leaves(state[_STATE][_AVERAGE]), strict=True)),
        **dict(zip(reading.leaf_names(frozen), jax.tree.leaves(state["params"]), strict=True)),
    }
    return jax.tree.unflatten(jax.tree.structure(abstract_params), [by_name[name] for name in names])
