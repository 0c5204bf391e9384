"""Collective operations of a compiled module: what crosses the network, over which axes of the mesh."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from t5lite.planning.compiled.hlo import Array, Computation, Instruction, Module
from t5lite.planning.compiled.sources import origin, source_line
from t5lite.planning.hardware.links import NETWORK, ring_share

_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_REDUCE_SCATTER = "all-reduce-scatter"
"""How a TPU's compiler names the fusion that an all-reduce and a slice have become."""
_BETWEEN_SLICES = "_xla_megascale_transfer_type"
_GROUPS_OF_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}"
)


@dataclass(frozen=True, kw_only=True)
class Collective:
    """One collective operation."""

    kind: str
    dtype: str
    """Of the elements that it sends, as HLO calls it: that of most of its bytes."""
    axes: tuple[str, ...]
    """Axes of the mesh along which its devices differ, in the mesh's order."""
    group: tuple[int, ...]
    """Devices of one group, by their number within the slice; empty between slices."""
    group_size: int
    """Devices that take part in one group of it."""
    runs: int
    """How often it runs in a step."""
    sent_bytes: float
    """Bytes that each device sends in one run, by a ring."""
    op_name: str
    """Where it comes from, as JAX names it."""
    source: str
    """The line of code that it comes from, if the compiler knows."""

    @property
    def network(self) -> str:
        """``links`` of a slice, or the ``network`` between slices."""
        return "links" if self.group else NETWORK

    @property
    def total_bytes(self) -> float:
        """Bytes that each device sends in a step."""
        return self.runs * self.sent_bytes


def collectives(
    module: Module, mesh_shape: Mapping[str, int], *, num_slices: int = 1
) -> tuple[Collective, ...]:
    """Return the collectives of a module, most bytes first, each once however many pieces it is in.

    Those that a TPU7x runs on its SparseCore are in computations of their own, called by a custom call.

    Args:
      module: compiled for the mesh.
      mesh_shape: size of every axis, in the order in which the devices are numbered; the first one crosses
        slices.
      num_slices: of the mesh. The compiler writes a module for one slice, and what crosses slices as
        transfers by the hosts.
    """
    return most_bytes_first(each for *_, each in located(module, mesh_shape, num_slices=num_slices))


def most_bytes_first(collectives: Iterable[Collective]) -> tuple[Collective, ...]:
    """Return collectives in the order in which they are listed."""
    return tuple(sorted(collectives, key=lambda each: (-each.total_bytes, each.kind, each.op_name)))


def located(
    module: Module, mesh_shape: Mapping[str, int], *, num_slices: int = 1
) -> Iterator[tuple[Computation, Instruction, Collective]]:
    """Yield the same, each with the instruction that starts it and the computation that holds that."""
    first, *_ = mesh_shape
    within = {**mesh_shape, first: mesh_shape[first] // num_slices}
    for computation, instruction in module.walk():
        kind = instruction.opcode.removesuffix("-start")
        if computation.carries_on(instruction):
            continue
        if kind in _KINDS:
            found = _within_slice(module, computation, instruction, kind, within)
        elif kind == "send" and _BETWEEN_SLICES in instruction.attributes:
            found = _between_slices(module, computation, instruction, first, num_slices)
        else:
            continue
        if found.group_size > 1:
            yield computation, instruction, found


def _within_slice(
    module: Module,
    computation: Computation,
    instruction: Instruction,
    kind: str,
    mesh_shape: Mapping[str, int],
) -> Collective:
    if kind == "all-reduce" and computation.name.startswith(_REDUCE_SCATTER):
        kind = "reduce-scatter"
        whole = sum(array.num_bytes for array in instruction.arrays)
    elif kind == "reduce-scatter":
        whole = sum(array.num_bytes for name in instruction.operands for array in _arrays(computation, name))
    elif kind in ("all-reduce", "all-to-all") and not instruction.opcode.endswith("-start"):
        whole = sum(array.num_bytes for array in instruction.arrays)
    else:
        # The result of an all-gather, and of an asynchronous one the larger half of (operand, result).
        whole = max(array.num_bytes for array in instruction.arrays)
    group = _group(instruction, mesh_shape)
    told = origin(module, computation, instruction)
    return Collective(
        kind=kind,
        dtype=max(instruction.arrays, key=lambda array: array.num_bytes).dtype,
        axes=_axes(group, mesh_shape),
        group=tuple(group),
        group_size=len(group),
        runs=computation.runs,
        sent_bytes=whole * _share_sent(kind, len(group)),
        op_name=told.op_name,
        source=source_line(module, told),
    )


def _between_slices(
    module: Module, computation: Computation, instruction: Instruction, axis: str, num_slices: int
) -> Collective:
    kind = (instruction.attribute(r'_xla_megascale_transfer_type="(\w+)"') or "").lower().replace("_", "-")
    sent = instruction.arrays[0].num_bytes
    # A gather sends a device's own part to every other slice, the others all that they hold of the array.
    told = origin(module, computation, instruction)
    return Collective(
        kind=kind,
        dtype=instruction.arrays[0].dtype,
        axes=(axis,),
        group=(),
        group_size=num_slices,
        runs=computation.runs,
        sent_bytes=sent * (num_slices - 1 if kind == "all-gather" else _share_sent(kind, num_slices)),
        op_name=told.op_name,
        source=source_line(module, told),
    )


def _share_sent(kind: str, size: int) -> float:
    """Return how much of the whole array each device of a ring sends."""
    if kind == "collective-permute":
        return 1.0
    return ring_share(size) * (2 if kind == "all-reduce" else 1)


def _arrays(computation: Computation, name: str) -> tuple[Array, ...]:
    instruction = computation.instructions.get(name)
    return instruction.arrays if instruction else ()


def _group(instruction: Instruction, mesh_shape: Mapping[str, int]) -> list[int]:
    """Return the device numbers of the operation's first group of several devices.

    HLO writes groups in four ways: as pairs (permute), as lists, as a reshaped and transposed iota, and as
    axes of a mesh.

    Raises:
      ValueError: for groups that are written in another way.
    """
    if pairs := instruction.attribute(r"source_target_pairs=\{(\{.*?\})\}"):
        ends = [tuple(map(int, pair.split(","))) for pair in re.findall(r"\{(\d+,\d+)\}", pairs)]
        return next((list(pair) for pair in ends if pair[0] != pair[1]), [0])
    text = instruction.attributes
    if found := _GROUPS_OF_MESH.search(text):
        return _mesh_group(*found.groups())
    if found := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        return _iota(found[2], found[3]).reshape(_numbers(found[1]))[0].tolist()
    if lists := instruction.attribute(r"replica_groups=\{(\{[\d,{}]*\})\}"):
        return _numbers(re.findall(r"\{([\d,]+)\}", lists)[0])
    if "replica_groups={}" in text:
        return list(range(math.prod(mesh_shape.values())))
    raise ValueError(f"the groups of {instruction.name} are written in an unknown way: {text[:200]}")


def _mesh_group(axes: str, iota: str | None, order: str | None, along: str) -> list[int]:
    """Return the numbers of the devices that share the first place on every axis but those ``along``.

    Args:
      axes: of a mesh of the compiler's own: ``'axis_0'=8,'axis_1'=2``.
      iota: shape of the device numbers, if they do not count up along the axes.
      order: in which the dimensions of that shape are taken.
      along: axes of the group, ``'axis_0'``, or a part of one: ``'axis_0':(2)4`` is the middle one of
        2 x 4 x whatever is left.
    """
    wanted = {name: part for name, *part in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", along)}
    shape: list[int] = []
    place: list[slice | int] = []
    for name, written in re.findall(r"'(\w+)'=(\d+)", axes):
        size = int(written)
        before, middle = (int(part or 0) for part in wanted.get(name, ("1", "1")))
        if name in wanted and not middle:
            before, middle = 1, size
        shape += [before, middle, size // (before * middle)]
        place += [0, slice(None), 0]
    numbers = _iota(iota, order) if iota else np.arange(math.prod(shape))
    return numbers.reshape(shape)[tuple(place)].reshape(-1).tolist()


def _iota(shape: str, order: str | None) -> np.ndarray:
    """Return the numbers from 0 in a shape, its dimensions taken in an order."""
    numbers = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return numbers.transpose(_numbers(order)) if order else numbers


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _axes(group: list[int], mesh_shape: Mapping[str, int]) -> tuple[str, ...]:
    places = np.array(np.unravel_index(np.array(group), list(mesh_shape.values())))
    return tuple(name for name, along in zip(mesh_shape, places, strict=True) if len(set(along.tolist())) > 1)
