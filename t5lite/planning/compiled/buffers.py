"""What occupies the memory of a device at its fullest moment, from the compiler's own notes.

XLA writes down (``xla_dump_to``) which value has which place in memory, and from when to when it lives. Both
are there for a program that does not fit as well. ``compiled.memory_analysis()`` does not suffice: its peak
is the sum of the buffers here, of a program that fits only, and it says nothing of what they are.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from t5lite.planning.compiled.hlo import Array, Computation, Instruction, Module
from t5lite.planning.compiled.sources import origin, source_line

Kind = Literal["parameters", "optimizer", "batch", "activations", "temporaries"]

_ALLOCATION = re.compile(r"^allocation \d+: size (\d+)(.*)$")
_VALUE = re.compile(
    r"^ value: <\d+ (\S+?)(\{[\d,]*\})?(?: \(phi\))? @\d+> \(size=(\d+),offset=(\d+)\): (.*)$"
)
_LIFE = re.compile(r"^ +(\S+?)(\{[\d,]*\}):(\d+)-(\d+)$")
_SHAPE = re.compile(r"^\w+\[[<=\d,]*\]")
_PARAMETER = re.compile(r"\bparameter (\d+),")
_FORWARD, _BACKWARD = "jvp(", "transpose("
"""How JAX marks operations of the forward and of the backward pass."""
_BARE = ("/while", "/broadcast_in_dim", "/body", "/closed_call")
"""How operations end that only pass values on or make room for them."""
_SCAN = "models/layers/running.py"
_STATE: tuple[tuple[str, Kind], ...] = (
    ("state.params", "parameters"),
    ("state.opt_state", "optimizer"),
    ("batch", "batch"),
)
"""What JAX calls the arguments of ``training.step.compile_train_step``."""


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """A piece of main memory at the peak, for one device."""

    kind: Kind
    num_bytes: int
    shape: str
    """As HLO writes it: ``bf16[12,8,512,768]``."""
    op_name: str
    """What JAX calls what is in it."""
    source: str
    """The line of code that it comes from, if the compiler knows."""


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """Main memory of one device."""

    buffers: tuple[Buffer, ...]
    """At the peak, largest first."""
    gaps: int
    """Bytes set aside beyond the peak, because buffers that live at different times do not fit together."""


Place = tuple[int, int]
"""Offset in the heap, and bytes."""
_Named = Mapping[str, tuple[Computation, Instruction]]
"""Instructions by name, each with its computation."""


@dataclass(frozen=True, order=True)
class _Value:
    name: str
    index: str
    num_bytes: int
    offset: int
    shape: str

    @property
    def place(self) -> Place:
        return self.offset, self.num_bytes

    @property
    def place_in_tuple(self) -> int:
        first = self.index.strip("{}").partition(",")[0]
        return int(first) if first else 0


@dataclass
class _Notes:
    """What the compiler wrote down."""

    arguments: list[tuple[str, int]]
    """Name of the parameter instruction, bytes."""
    values: list[_Value]
    """Everything in the heap."""
    heap_bytes: int
    lives: dict[tuple[str, str], tuple[int, int]]


def occupancy(module: Module, directory: Path) -> Occupancy:
    """Return what occupies main memory at the peak.

    Args:
      module: the optimised module.
      directory: where the compiler wrote its notes.
    """
    notes = _read(directory)
    named = {
        instruction.name: (computation, instruction)
        for computation in module.computations.values()
        for instruction in computation.instructions.values()
    }
    held = [_argument(name, size, named) for name, size in notes.arguments]
    moment, at_peak = _peak(notes)
    buffers = held + [_heap_buffer(module, place, notes, moment, named) for place in at_peak]
    in_use = sum(size for _, size in at_peak)
    return Occupancy(
        buffers=tuple(sorted(buffers, key=lambda each: -each.num_bytes)), gaps=notes.heap_bytes - in_use
    )


def _read(directory: Path) -> _Notes:
    assignment = _only(directory, "*after_optimizations-buffer-assignment.txt")
    notes = _Notes(arguments=[], values=[], heap_bytes=0, lives={})
    in_heap, parameter_bytes = False, None
    for line in assignment.splitlines():
        if allocation := _ALLOCATION.match(line):
            size, described = int(allocation[1]), allocation[2]
            in_main_memory = "color" not in described
            in_heap = in_main_memory and "preallocated-temp" in described
            notes.heap_bytes += size if in_heap else 0
            parameter_bytes = size if in_main_memory and _PARAMETER.search(described) else None
        elif value := _VALUE.match(line):
            name, index, size, offset, shape = value.groups()
            if parameter_bytes is not None:
                notes.arguments.append((name, parameter_bytes))
                parameter_bytes = None
            elif in_heap:
                notes.values.append(_Value(name, index or "{}", int(size), int(offset), shape))
    _, _, ranges = _only(directory, "*after_optimizations-live-range.txt").partition("BufferLiveRange:")
    for line in ranges.partition("Live ranges at")[0].splitlines():
        if life := _LIFE.match(line):
            notes.lives[life[1], life[2]] = (int(life[3]), int(life[4]))
    return notes


def _only(directory: Path, pattern: str) -> str:
    """Return the text of the newest file: the compiler may have tried several times."""
    newest = max(directory.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    return newest.read_text(encoding="utf-8", errors="replace")


def _peak(notes: _Notes) -> tuple[int, list[Place]]:
    """Return the moment when most of the heap is occupied, and what is. Aliases share a place."""
    changes: dict[int, list[tuple[int, Place]]] = defaultdict(list)
    for value in notes.values:
        if life := notes.lives.get((value.name, value.index)):
            changes[life[0]].append((1, value.place))
            changes[life[1] + 1].append((-1, value.place))
    users: Counter[Place] = Counter()
    occupied, most, moment, at_peak = 0, -1, 0, []
    for time in sorted(changes):
        for change, place in changes[time]:
            before = users[place] > 0
            users[place] += change
            occupied += place[1] * ((users[place] > 0) - before)
        if occupied > most:
            most, moment = occupied, time
            at_peak = [place for place, count in users.items() if count > 0]
    return moment, at_peak


def _aliases(notes: _Notes, place: Place, moment: int) -> list[_Value]:
    """Return the values that hand a place on to each other until ``moment`` or later, in time's order."""
    lives = sorted(
        (life, value)
        for value in notes.values
        if value.place == place and (life := notes.lives.get((value.name, value.index)))
    )
    chain: list[_Value] = []
    last = -1
    for (start, end), value in lives:
        if start > last + 1:
            if last >= moment:
                break
            chain = []
        chain.append(value)
        last = max(last, end)
    return chain


def _argument(name: str, size: int, named: _Named) -> Buffer:
    _, instruction = named[name]
    op_name = instruction.op_name
    kinds: list[Kind] = [kind for prefix, kind in _STATE if op_name.startswith(prefix)]
    shape = _text(instruction.arrays[0])
    return Buffer(kind=(*kinds, "temporaries")[0], num_bytes=size, shape=shape, op_name=op_name, source="")


def _heap_buffer(module: Module, place: Place, notes: _Notes, moment: int, named: _Named) -> Buffer:
    """Describe a place by the best known of the values that are in it, one after the other."""
    chain = _aliases(notes, place, moment)
    origins = [origin(module, *named[value.name], value.place_in_tuple) for value in chain]
    passes = [_BACKWARD in each.op_name for each in origins if _FORWARD in each.op_name]
    is_activation = bool(passes) and not passes[0]
    told = [
        (each.op_name, source_line(module, each))
        for each in origins
        if not is_activation or _BACKWARD not in each.op_name
    ]
    op_name, line = max(told, key=lambda each: _telling(*each), default=("", ""))
    return Buffer(
        kind="activations" if is_activation else "temporaries",
        num_bytes=place[1],
        shape=_shape(chain[0].shape) if chain else "",
        op_name=op_name,
        source=line,
    )


def _telling(op_name: str, line: str) -> int:
    """Return how much the two say: the loop over layers holds every array of all layers."""
    is_ours = line.startswith("t5lite/") and _SCAN not in line
    is_an_operation = bool(op_name) and not op_name.endswith(_BARE)
    return 2 * is_ours + bool(line) + is_an_operation


def _text(array: Array) -> str:
    return f"{array.dtype}[{','.join(map(str, array.dims))}]"


def _shape(text: str) -> str:
    found = _SHAPE.search(text)
    return found[0] if found else ""
