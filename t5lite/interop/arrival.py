"""Parameters arriving from files: piece by piece, straight to the shards of any mesh.

Host memory never holds more than one piece besides what the result itself occupies: a piece is some
16 MiB, or the smallest unit the file can be read in (a compressed chunk, a layer's tensor) if that is larger.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from t5lite.core.errors import CheckpointError
from t5lite.core.types import Tree
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner, PartitioningConfig, make_partitioner

Placement = Partitioner | Literal["fitting"] | None
"""Where parameters go: a mesh; all devices ("fitting"); or the host, as NumPy arrays."""

Index = tuple[slice, ...]
"""One slice an axis, each with a start and a stop and no step."""

_PIECE_BYTES = 16 * 2**20


class Source(Protocol):
    """An array in files, of which any box can be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        ...

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of the smallest box worth reading; boxes are best aligned to its multiples."""
        ...

    def read(self, index: Index) -> np.ndarray:
        """Return a box."""
        ...


def arrive(
    source: Source,
    *,
    dtype: Any,
    sharding: Sharding | None = None,
    see: Callable[[np.ndarray], None] = lambda _: None,
) -> Any:
    """Return the whole array in ``dtype``: NumPy without a ``sharding``, else a ``jax.Array`` laid out so.

    With a sharding, every process reads the boxes of its own devices only.

    Args:
      source: where it comes from.
      dtype: of the result.
      sharding: the layout on a mesh.
      see: is handed every piece, in ``dtype``.
    """
    shape = source.shape
    if sharding is None:
        array = empty(shape, dtype)
        for piece in pieces(source, tuple(slice(0, size) for size in shape), np.dtype(dtype).itemsize):
            array[piece] = source.read(piece).astype(dtype, copy=False)
            see(array[piece])
        return array
    devices_of: dict[tuple[tuple[int, int], ...], list[Any]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        bounds = tuple(cut.indices(size)[:2] for cut, size in zip(index or (), shape, strict=True))
        devices_of.setdefault(bounds, []).append(device)
    shards = []
    for bounds, devices in devices_of.items():
        shards += _shard(source, tuple(itertools.starmap(slice, bounds)), devices, np.dtype(dtype), see)
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a new array on the host.

    Raises:
      CheckpointError: if there is not the memory for it.
    """
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:  # more bytes than NumPy can count are a ValueError
        needed, there = math.prod(shape) * np.dtype(dtype).itemsize, host_memory_bytes()
        raise CheckpointError(
            f"an array of shape {shape} ({needed / 2**30:,.1f} GiB) does not fit into this machine's memory "
            f"({there / 2**30:,.1f} GiB); take a larger one, or fetch the files again if the model is smaller"
        ) from error


def host_memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def shardings_of(model: FunctionalModel, placement: Placement) -> Tree | None:
    """Return the sharding of every parameter of ``model``; None for the host.

    Raises:
      ConfigError: if the mesh of a given partitioner does not divide the heads.
    """
    if placement is None:
        return None
    if placement == "fitting":
        partitioner = make_partitioner(PartitioningConfig())
    else:
        partitioner = placement
        # No batch is meant; the number of devices is one that every mesh divides.
        partitioner.check(partitioner.mesh.size, model.config.head_counts)
    return partitioner.tree_shardings(model.logical_axes, model.abstract_params)


def pieces(source: Source, region: Index, itemsize: int) -> Iterator[Index]:
    """Yield boxes that cover ``region`` once: multiples of the source's block, of about 16 MiB."""
    steps = list(source.block)
    for axis in reversed(range(len(steps))):
        fitting = max(1, _PIECE_BYTES // max(1, itemsize * math.prod(steps)))
        steps[axis] *= min(fitting, -(-source.shape[axis] // steps[axis]))
    axes = []
    for step, cut in zip(steps, region, strict=True):
        first = cut.start // step * step
        axes.append(
            [
                slice(max(start, cut.start), min(start + step, cut.stop))
                for start in range(first, cut.stop, step)
            ]
        )
    yield from itertools.product(*axes)


def fill(view: memoryview, stream: BinaryIO) -> bool:
    """Read bytes into the whole of ``view``; return False if the stream ends before."""
    done = 0
    while done < len(view):
        # One read of a raw stream may bring less than it was asked for.
        count = cast(Any, stream).readinto(view[done:])
        if not count:
            return False
        done += count
    return True


def _shard(
    source: Source,
    region: Index,
    devices: list[Any],
    dtype: np.dtype,
    see: Callable[[np.ndarray], None],
) -> list[jax.Array]:
    """Return the box ``region`` once on each device."""
    shape = tuple(cut.stop - cut.start for cut in region)
    buffers: list[jax.Array] = []
    for piece in pieces(source, region, dtype.itemsize):
        box = np.ascontiguousarray(source.read(piece).astype(dtype, copy=False)).reshape(
            tuple(cut.stop - cut.start for cut in piece)
        )
        see(box)
        if box.shape == shape:
            return [jax.device_put(box, device) for device in devices]
        start = tuple(np.int32(cut.start - whole.start) for cut, whole in zip(piece, region, strict=True))
        buffers = buffers or [jnp.zeros(shape, dtype, device=device) for device in devices]
        buffers = [
            _write(buffer, jax.device_put(box, device), start)
            for buffer, device in zip(buffers, devices, strict=True)
        ]
        jax.block_until_ready(buffers)  # else the boxes that wait to be copied pile up
    return buffers


@jax.jit(donate_argnums=0)
def _write(buffer: jax.Array, box: jax.Array, start: tuple[Any, ...]) -> jax.Array:
    return jax.lax.dynamic_update_slice(buffer, box, start)
