"""What XLA's compiler is asked for, by platform: one table, for training and for planning alike.

They go to ``jax.jit`` (``training.step``), so that a step that is planned or compiled ahead for a slice is
the one that the slice runs. What they do is in docs/partitioning.md, before and after.
"""

import functools
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from t5lite.core.errors import ConfigError

_logger = logging.getLogger(__name__)

Options = tuple[tuple[str, str], ...]
"""Names and values, as XLA writes them."""

_ENVIRONMENT = ("LIBTPU_INIT_ARGS", "XLA_FLAGS")
"""Where people set the same options for the whole process; what is named there is left alone."""
_CACHED_FROM = "jax_persistent_cache_min_compile_time_secs"


@dataclass(frozen=True, kw_only=True)
class _Option:
    name: str
    value: str
    platform: str = "tpu"


TABLE: tuple[_Option, ...] = (
    # MiB of a gathered operand from which XLA:TPU writes a product as a loop of permutes and parts of it. Its
    # sums over devices are rounded to bfloat16 once a device, in main memory; and where parameters are split
    # (fsdp, alone or with tensor) what was compiled takes longer so than by gather, product and scatter.
    _Option(name="xla_jf_spmd_threshold_for_windowed_einsum_mib", value="1000000"),
    # A sum over devices of which each keeps a part is a reduce-scatter over all dimensions of the torus, too.
    # Else XLA:TPU sends twice as much on square slices and on three dimensions, by an all-reduce, even if a
    # reduce-scatter is asked for. Its name says SparseCore; from v3 to v6e what comes is the tensor core's
    # own all-reduce-scatter, which a v5e:4x8 has without it, and a TPU7x has it anyway.
    _Option(name="xla_tpu_enable_sparse_core_collective_offload_nd_reduce_scatter", value="true"),
    # A gather is one: on a v5e:8x8 XLA:TPU writes the gather of a kernel as an all-reduce of twice the bytes.
    _Option(name="xla_tpu_prefer_async_allgather_to_allreduce", value="true"),
    # Gathers begin a turn of the layers' loop earlier and scatters end one later: 11 of 13 gathers of T5 1.1
    # large on h100:8x8 have a product to hide behind, where 3 of 9 have one by default (docs/speed.md).
    _Option(name="xla_gpu_enable_pipelined_all_gather", value="true", platform="gpu"),
    _Option(name="xla_gpu_enable_pipelined_reduce_scatter", value="true", platform="gpu"),
)

ALTERNATIVES: tuple[_Option, ...] = (
    # Where products are long beside the links, windows hide them; at the price of sums rounded to bfloat16.
    _Option(name="xla_jf_spmd_threshold_for_windowed_einsum_mib", value="0"),
    _Option(name="xla_tpu_enable_sparse_core_collective_offload_nd_reduce_scatter", value="false"),
)
"""Other choices, of which ``t5lite plan`` tries each for the best of its ways."""


def alternatives(platform: str, given: Options) -> list[Options]:
    """Return a platform's other choices, each as options, but for those that are given anyway."""
    others = (((each.name, each.value),) for each in ALTERNATIVES if each.platform == platform)
    return [other for other in others if unnamed(other, given)]


def chosen_options(device: Any, given: Options) -> Options:
    """Return the options of programs for ``device``: the table's, and what is given before them.

    An option of the table is left out where the environment names it, or where this version of the compiler
    does not know it, which is said once.

    Args:
      device: one of the mesh, of this process if it is here.
      given: by the configuration.

    Raises:
      ConfigError: for a given option, or a value, that the compiler does not know.
    """
    for option in given:
        if (refusal := _refusal(device, (option,))) is not None:
            raise ConfigError(f"partitioning.compiler_options for {device.platform}: {refusal}")
    wanted = tuple((each.name, each.value) for each in TABLE if each.platform == device.platform)
    return _known(device, unnamed(wanted, given)) + given


def unnamed(options: Options, given: Options) -> Options:
    """Return the options that neither those given nor the environment name: what people say goes before."""
    environment = " ".join(os.environ.get(name, "") for name in _ENVIRONMENT)
    taken = {name for name, _ in given}
    return tuple(
        (name, value) for name, value in options if name not in taken and f"--{name}" not in environment
    )


def as_compiler_options(options: Options) -> dict[str, Any] | None:
    """Return options as ``jax.jit`` takes them: words for truth are booleans there."""
    words: Mapping[str, bool] = {"true": True, "false": False}
    return {name: words.get(value.lower(), value) for name, value in options} or None


@functools.cache
def _known(device: Any, options: Options) -> Options:
    if not options or _refusal(device, options) is None:
        return options
    refusals = {option: _refusal(device, (option,)) for option in options}
    for refusal in filter(None, refusals.values()):
        _logger.warning("one of t5lite's compiler options is left out: %s", refusal)
    return tuple(option for option, refusal in refusals.items() if refusal is None)


@functools.cache
def _refusal(device: Any, options: Options) -> str | None:
    """Return what the compiler says against the options, for a program that does nothing; None if nothing."""

    def nothing() -> int:
        return 0

    lowered = jax.jit(nothing, out_shardings=SingleDeviceSharding(device)).lower()
    try:
        with _not_kept():
            lowered.compile(as_compiler_options(options))
    except jax.errors.JaxRuntimeError as error:
        return str(error).strip().splitlines()[0].removeprefix("INVALID_ARGUMENT: ")[:200]
    return None


@contextmanager
def _not_kept() -> Iterator[None]:
    """Keep what is compiled out of the persistent cache: of devices that are not here it cannot be read."""
    before = getattr(jax.config, _CACHED_FROM)
    jax.config.update(_CACHED_FROM, math.inf)
    try:
        yield
    finally:
        jax.config.update(_CACHED_FROM, before)
