"""Bytes that the instructions of one device read from and write to its main memory.

An instruction's traffic is what it reads of each operand that lies in main memory, and what it writes of each
result that does. Which part of an operand a fusion reads is found by following the value through the inside,
nested fusions included, to what uses it; all of it is the answer only where nothing says less. What is read
twice counts once, as this is a bound.

How the text of a program for a TPU is to be read (libtpu 0.0.52):

- ``S(1)`` in a layout is the chip's own memory (VMEM, 128 MiB on v5e), ``S(5)`` the host's, the others flags
  and scalars. No number is main memory (HBM). Layouts *outside* fusions say where an array is; those inside
  say nothing, as what is between two operations of a fusion stays in registers.
- An array is brought to VMEM ahead of its use, whole by ``copy-start`` (of a tuple: destination, source) or
  in slices by ``async-start``, which calls a computation of one ``slice`` (``as_text()`` of the executable
  writes ``slice-start`` instead, the compiler's notes do not); ``ConcatBitcast`` of such slices is the array,
  and moves nothing. Results leave VMEM in the same way. One side of each is main memory.
- A result is updated in place where the value that ``dynamic-update-slice`` updates is an operand behind
  views (``aliasing_operands`` in ``backend_config`` says so of each): the update is written, the rest not
  even read. Where an array may not be overwritten the compiler has put in a ``copy`` before.
- Fusions nest: a stack of all layers' arrays goes through a ``fusion`` of one ``bitcast`` to another one that
  slices it, and ``bitcast_dynamic-update-slice_fusion`` has the product whose result it stores inside.
- Arrays are put together as the ``maximum`` of two that ``pad`` has filled with -inf, and then sliced: so do
  the loops of products that gather, or scatter, meanwhile (``windowed_dot_general``). Their partial sums are
  read and written in every trip, in bfloat16.
- A collective that is spread over other work is written in each of its parts (``Computation.carries_on``).
- A loop's arrays are the elements of its tuple: the body gets, uses and returns them where they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from t5lite.planning.compiled.hlo import Array, Computation, Instruction, Module
from t5lite.planning.compiled.sources import origin, source_line

_FREE = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "opt-barrier", "after-all"),
        *("while", "conditional", "call", "async-start", "async-update", "partition-id", "replica-id"),
    )
)
"""Opcodes that move nothing themselves; some call what does."""
_FREE_CALLS = ("AllocateBuffer", "ConcatBitcast", "AssumeGatherIndicesInBound")
_ASYNC_START, _ASYNC_DONE = "AsyncCollectiveStart", "AsyncCollectiveDone"
_VIEWS = ("bitcast", "reshape")
_VMEM = 1
_BRINGING = ("copy-start", "async-start", "slice-start", "dynamic-slice-start")
_ENLARGED = ("pad", "concatenate")
"""Opcodes whose result holds their operands: of each as much is needed as of the whole."""
_SLICES = ("dynamic-slice", "slice", "gather", "slice-start", "dynamic-slice-start")
_UPDATE = "dynamic-update-slice"
_READ_WHOLE = ("convolution", "dot", "sort", "reduce-window", "scatter", "select-and-scatter", "custom-call")
"""Opcodes of which an element of the result may need any of an operand of its size."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What one instruction reads from and writes to main memory."""

    kind: str
    """Its opcode."""
    num_bytes: float
    """Of all its runs."""
    op_name: str
    """Where it comes from, as JAX names it."""
    source: str
    """The line of code that it comes from, if the compiler knows."""


def transfers(module: Module) -> list[Transfer]:
    """Return what every instruction of the module moves, those that move nothing left out."""
    traffic, found = Traffic(module), []
    for computation, instruction in module.walk():
        if num_bytes := computation.runs * traffic.num_bytes(computation, instruction):
            told = traffic.reason(computation, instruction)
            found.append(
                Transfer(
                    kind=instruction.opcode,
                    num_bytes=num_bytes,
                    op_name=told.op_name,
                    source=source_line(module, told),
                )
            )
    return found


def main_memory_bytes(module: Module) -> float:
    """Return the bytes that all instructions together read from and write to main memory."""
    traffic = Traffic(module)
    return sum(
        computation.runs * traffic.num_bytes(computation, instruction)
        for computation, instruction in module.walk()
    )


class Traffic:
    """Counts the traffic of a module's instructions."""

    def __init__(self, module: Module) -> None:
        """Take the module whose instructions are asked for."""
        self._module = module
        self._users: dict[str, dict[str, list[Instruction]]] = {}
        self._shares: dict[tuple[str, str, bool], float] = {}

    def num_bytes(self, computation: Computation, instruction: Instruction) -> float:
        """Return the bytes of one run; none of what is in a fusion, whose own they are."""
        if computation.is_fused or _moves_nothing(instruction):
            return 0.0
        operands = [_arrays(computation, name) for name in instruction.operands]
        read = sum(
            self._read_by(computation, instruction, number) * _main_memory(arrays)
            for number, arrays in enumerate(operands)
            if _main_memory(arrays)
        )
        written = sum(
            self._written_by(computation, instruction, place)
            for place, array in _results(instruction)
            if not array.memory_space
        )
        told = instruction.estimate("bytes_accessed")
        if told is None:
            return read + written
        # A kernel knows how often it reads what; not whether that is in main memory.
        everything = sum(map(_num_bytes, [*operands, instruction.arrays]))
        return told * (read + written) / everything if everything else 0.0

    def reason(self, computation: Computation, instruction: Instruction) -> Instruction:
        """Return the instruction that says best why one moves something: what is brought is for its user."""
        value, within = instruction, computation
        if computation.caller is not None and computation.caller.opcode == "async-start":
            value, within = computation.caller, computation.outer or computation
        brought = next((array for _, array in _results(instruction)), None)
        is_brought = value.opcode in _BRINGING and brought is not None and brought.memory_space == _VMEM
        while is_brought and (users := self._users_of(within, value.name)):
            value = users[0]
            if not _moves_nothing(value):
                return origin(self._module, within, value)
        return origin(self._module, computation, instruction)

    def _read_by(self, computation: Computation, instruction: Instruction, number: int) -> float:
        """Return which share of an operand an instruction outside fusions reads."""
        if instruction.opcode == "fusion":
            fused = self._fused(instruction)
            return self._read(fused, fused.parameter(number).name, is_operand=True)
        wanted = 0.0 if _is_updated(instruction, number) else 1.0  # in place
        return _needed(computation, instruction, number, wanted)

    def _read(self, fused: Computation, name: str, *, is_operand: bool) -> float:
        """Return which share of a value inside a fusion is needed.

        Args:
          fused: the inside.
          name: of the value.
          is_operand: whether it is an operand of the outermost fusion, perhaps behind views or with parts of
            it updated; as a result that is in place already.
        """
        key = fused.name, name, is_operand
        if key not in self._shares:
            share = self._returned(fused, None, is_operand) if fused.root.name == name else 0.0
            for user in self._users_of(fused, name):
                for number, operand in enumerate(user.operands):
                    if operand == name:
                        share += self._read_through(fused, user, number, is_operand)
            self._shares[key] = min(1.0, share)
        return self._shares[key]

    def _read_through(self, fused: Computation, user: Instruction, number: int, is_operand: bool) -> float:
        """Return which share of its operand a user inside a fusion needs, for what is needed of itself."""
        if fused.carries_on(user) or user.calls_target(_ASYNC_DONE):
            return 0.0
        if user.opcode == "fusion":
            inner = self._fused(user)
            return self._read(inner, inner.parameter(number).name, is_operand=is_operand)
        if user.opcode == "tuple":
            return self._returned(fused, number, is_operand) if user.is_root else 1.0
        stays = is_operand and (user.opcode in _VIEWS or _is_updated(user, number))
        return _needed(fused, user, number, self._read(fused, user.name, is_operand=stays))

    def _returned(self, fused: Computation, place: int | None, is_operand: bool) -> float:
        """Return which share of a fusion's result is needed: all outside, but for what is there already."""
        nested = _nested_in(fused)
        if nested is None:
            return 0.0 if is_operand else 1.0
        outer, caller = nested
        if place is None:
            return self._read(outer, caller.name, is_operand=is_operand)
        share = self._returned(outer, place, is_operand) if caller.is_root else 0.0
        elements = (each for each in self._users_of(outer, caller.name) if each.tuple_index == place)
        return share + sum(self._read(outer, each.name, is_operand=is_operand) for each in elements)

    def _written_by(self, computation: Computation, instruction: Instruction, place: int) -> float:
        """Return the bytes that an instruction writes of one of its results."""
        if instruction.opcode == "fusion":
            return self._written_inside(self._fused(instruction), place)
        if instruction.opcode == _UPDATE:
            return _num_bytes(_arrays(computation, instruction.operands[1]))
        if instruction.opcode == "scatter":
            return _num_bytes(_arrays(computation, instruction.operands[_updates_of(instruction, place)]))
        return instruction.arrays[place].num_bytes

    def _written_inside(self, fused: Computation, place: int) -> float:
        root = fused.root
        if root.opcode == "tuple":
            return self._written(fused, fused.instructions[root.operands[place]])
        return self._written(fused, root, place)

    def _written(self, fused: Computation, value: Instruction, place: int = 0) -> float:
        """Return the bytes that a fusion writes of a result, given the value inside."""
        if value.opcode == "parameter":
            return 0.0  # passed on, where it is
        if fused.carries_on(value) or value.calls_target(_ASYNC_DONE):
            return 0.0
        if value.calls_target(_ASYNC_START):  # of operand, result and flags
            return value.arrays[place].num_bytes if place == 1 else 0.0
        if value.opcode == "fusion":
            return self._written_inside(self._fused(value), place)
        if value.opcode == "get-tuple-element":
            return self._written(fused, fused.instructions[value.operands[0]], value.tuple_index or 0)
        if value.opcode in _VIEWS:
            return self._written(fused, fused.instructions[value.operands[0]])
        if value.opcode in (_UPDATE, "scatter") and self._is_operand(fused, value.operands[place]):
            before = self._written(fused, fused.instructions[value.operands[place]])
            update = value.operands[1 if value.opcode == _UPDATE else _updates_of(value, place)]
            return before + _num_bytes(_arrays(fused, update))
        return value.arrays[place].num_bytes

    def _is_operand(self, fused: Computation, name: str) -> bool:
        """Return whether a value is an operand of the outermost fusion, perhaps with parts of it updated."""
        value = fused.instructions[name]
        if value.opcode == "parameter":
            nested = _nested_in(fused)
            return nested is None or self._is_operand(nested[0], nested[1].operands[int(value.operands[0])])
        if value.opcode == "fusion":
            inner = self._fused(value)
            return inner.root.opcode != "tuple" and self._is_operand(inner, inner.root.name)
        return value.opcode in (*_VIEWS, _UPDATE, "scatter") and self._is_operand(fused, value.operands[0])

    def _fused(self, fusion: Instruction) -> Computation:
        return self._module.computations[fusion.attribute(r"calls=%?([\w.\-]+)") or ""]

    def _users_of(self, computation: Computation, name: str) -> list[Instruction]:
        if computation.name not in self._users:
            users = self._users[computation.name] = {}
            for instruction in computation.instructions.values():
                for operand in dict.fromkeys(instruction.operands):
                    users.setdefault(operand, []).append(instruction)
        return self._users[computation.name].get(name, [])


def _nested_in(fused: Computation) -> tuple[Computation, Instruction] | None:
    """Return the fusion that a fusion's inside is nested in, and its instruction there; None if it is not."""
    if fused.caller is None or fused.outer is None or not fused.outer.is_fused:
        return None
    return fused.outer, fused.caller


def _moves_nothing(instruction: Instruction) -> bool:
    opcode = instruction.opcode
    return opcode in _FREE or opcode.endswith("-done") or any(map(instruction.calls_target, _FREE_CALLS))


def _needed(computation: Computation, instruction: Instruction, number: int, wanted: float) -> float:
    """Return which share of an operand an instruction reads.

    Args:
      computation: that holds it.
      instruction: no fusion.
      number: of the operand.
      wanted: the share of its result that is needed.
    """
    size = _num_elements(_arrays(computation, instruction.operands[number]))
    if not size:
        return 0.0
    result = next((array.num_elements for _, array in _results(instruction)), 0)
    if instruction.opcode in _SLICES and number == 0:
        return min(1.0, wanted * result / size)
    if instruction.opcode == "scatter" and _is_updated(instruction, number):
        updates = instruction.operands[_updates_of(instruction, number)]
        return min(1.0, wanted + _num_elements(_arrays(computation, updates)) / size)
    if instruction.opcode == _UPDATE:
        return 1.0 if number else wanted
    if instruction.opcode in (*_VIEWS, *_ENLARGED):
        return wanted
    return wanted if result == size and instruction.opcode not in _READ_WHOLE else 1.0


def _is_updated(instruction: Instruction, number: int) -> bool:
    """Return whether an operand is an array of which the instruction replaces parts."""
    if instruction.opcode == "scatter":
        return number < len(instruction.arrays)
    return instruction.opcode == _UPDATE and number == 0


def _updates_of(scatter: Instruction, place: int) -> int:
    """Return which operand the updates of one of a scatter's results are: operands, indices, updates."""
    return len(scatter.operands) // 2 + 1 + place


def _results(instruction: Instruction) -> Iterator[tuple[int, Array]]:
    """Yield what an instruction writes, with its place in the tuple that it returns."""
    opcode = instruction.opcode
    first, last = 0, len(instruction.arrays)
    if opcode in ("copy-start", "recv"):
        last = 1  # of destination, source and flags
    elif opcode == "send":
        last = 0
    elif opcode.endswith("-start") and opcode != "all-reduce-start":
        first = len(instruction.operands)  # the operands, the results and flags
    yield from list(enumerate(instruction.arrays))[first:last]


def _arrays(computation: Computation, name: str) -> tuple[Array, ...]:
    instruction = computation.instructions.get(name)
    return instruction.arrays if instruction else ()


def _num_elements(arrays: tuple[Array, ...]) -> int:
    return sum(array.num_elements for array in arrays)


def _main_memory(arrays: tuple[Array, ...]) -> float:
    return sum(array.num_bytes for array in arrays if not array.memory_space)


def _num_bytes(arrays: tuple[Array, ...]) -> float:
    return sum(array.num_bytes for array in arrays)
