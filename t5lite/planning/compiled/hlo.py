"""Read a compiled module's text: its computations, how often each runs, and the shapes of everything.

``compiled.cost_analysis()`` does not suffice: it counts the body of a loop once, which a scan over layers
makes wrong by the depth, and gives sums of a whole module that fits, elementwise work included. Here every
computation has the number of times that it runs, the trip counts of its loops multiplied. What is counted
is to be a bound, so the branches of a conditional do not count at all: which is cheapest may differ from
quantity to quantity, and no program of this package has any.
"""

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ELEMENT_TYPE = re.compile(r"(?:[suc]|b?f)(\d+)(?:e\d+m\d+(?:b\d+)?(?:fn|fnuz|fnu)?)?")
"""Signed, unsigned, complex or floating, bits, and of small floats what they are for: ``f8e4m3b11fnuz``."""
_OTHER_BITS = {"pred": 8, "token": 0, "opaque": 0}
_ON_CHIP = re.compile(r"S\((\d+)\)")
_ARRAY = re.compile(r"(\w+)\[([<=\d,]*)\](?:\{([^}]*)\})?")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|called_computations)=\{?(%?[\w.\-]+(?:, ?%[\w.\-]+)*)\}?"
)
"""Not the branches of a conditional, of which nobody knows which one runs."""
_TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")
_VIEWS = ("copy", "bitcast", "convert", "reshape", "copy-done", "copy-start")
_SPREAD_COLLECTIVE = "async_collective_fusion_config"
_LITERAL = ("constant", "parameter")
"""Opcodes with a value between the parentheses, not operands."""
_RUN_AS_WRITTEN = ("while", "conditional", "call", "async-start")
"""Opcodes whose computations are instructions of their own; what others call is part of their work."""
_NAME = re.compile(r"%([\w.\-]+(?:#\d+)*)")
_TABLE_ROW = re.compile(r'^(\d+) (?:"(.*)"|\{(.*)\})$')
_FRAME = re.compile(r"stack_frame_id=(\d+)")


@dataclass(frozen=True)
class Array:
    """Shape of one array."""

    dtype: str
    dims: tuple[int, ...]
    """Of a dimension whose size is told at run time (``f32[<=8]``) the largest that it can have."""
    memory_space: int = 0
    """0 is main memory (HBM); a TPU's 1 is its vector memory."""

    @property
    def num_elements(self) -> int:
        """Elements, without the padding of tiles."""
        return math.prod(self.dims)

    @property
    def num_bytes(self) -> float:
        """Bytes without the padding of tiles; elements of four bits are half a byte, tokens none."""
        return _element_bits(self.dtype) * self.num_elements / 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    """What it returns: one array, or the arrays of a tuple."""
    operands: tuple[str, ...]
    attributes: str
    """Everything after the operands."""
    is_root: bool

    @property
    def op_name(self) -> str:
        """What JAX calls the operation that it is of; empty for what the compiler added."""
        return (self.attribute(r'op_name="((?:[^"\\]|\\.)*)"') or "").replace("\\'", "'")

    @property
    def tuple_index(self) -> int | None:
        """The element that a ``get-tuple-element`` gets; None for other instructions."""
        found = self.attribute(r"index=(\d+)") if self.opcode == "get-tuple-element" else None
        return None if found is None else int(found)

    @property
    def is_spread(self) -> bool:
        """Whether it is a part of a collective that a TPU's compiler spreads over other work."""
        return _SPREAD_COLLECTIVE in self.attributes

    def calls_target(self, name: str) -> bool:
        """Return whether it is the custom call of that name."""
        return self.opcode == "custom-call" and f'custom_call_target="{name}"' in self.attributes

    def estimate(self, what: str) -> float | None:
        """Return a number of the cost estimate that a Pallas kernel carries, None if it has none."""
        found = self.attribute(rf'"cost_estimate":\{{[^}}]*"{what}":"(\d+)"')
        return float(found) if found else None

    def attribute(self, pattern: str) -> str | None:
        """Return the first group of a regular expression in the attributes, or None."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else None


@dataclass
class Computation:
    """A computation and how often it runs in one execution of the module."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)
    runs: int = 0
    is_fused: bool = False
    """Whether its intermediate values stay in registers or on-chip memory."""
    caller: Instruction | None = None
    """An instruction that calls it; None for the entry."""
    outer: "Computation | None" = None
    """The computation that holds the caller."""

    @property
    def root(self) -> Instruction:
        """The instruction whose value is the computation's."""
        return next(each for each in self.instructions.values() if each.is_root)

    def parameter(self, number: int) -> Instruction:
        """Return the instruction that is its parameter of that number."""
        return next(
            each
            for each in self.instructions.values()
            if each.opcode == "parameter" and int(each.operands[0]) == number
        )

    @property
    def starts_collective(self) -> bool:
        """Whether it does nothing but start a collective that other computations carry on."""
        return self.root.calls_target("AsyncCollectiveStart")

    @property
    def ends_collective(self) -> bool:
        """Whether it waits for the end of such a collective."""
        return any(each.calls_target("AsyncCollectiveDone") for each in self.instructions.values())

    def carries_on(self, instruction: Instruction) -> bool:
        """Whether an instruction of it is a later part of a collective that another computation starts.

        Such a part is written like the whole collective. It stands in fusions that do something else
        meanwhile, also in the body of a loop, and in the one that waits for the end.
        """
        return instruction.is_spread and not self.starts_collective


@dataclass
class Module:
    """The computations of a module by name."""

    computations: dict[str, Computation]
    entry: Computation
    frames: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Source lines ("file:line") of every stack frame, innermost first."""

    def frame(self, instruction: Instruction) -> tuple[str, ...]:
        """Return the source lines that an instruction comes from, innermost first; none if nobody knows."""
        found = _FRAME.search(instruction.attributes)
        return self.frames.get(int(found[1]), ()) if found else ()

    def walk(self) -> Iterator[tuple[Computation, Instruction]]:
        """Yield every instruction of every computation that runs."""
        for computation in self.computations.values():
            if computation.runs:
                for instruction in computation.instructions.values():
                    yield computation, instruction


def parse(text: str) -> Module:
    """Return the module of ``compiled.as_text()``.

    Raises:
      ValueError: if there is no entry computation, a loop whose trip count cannot be told, or an array whose
        elements are of unknown size.
    """
    computations: dict[str, Computation] = {}
    tables: dict[str, dict[int, str]] = {name: {} for name in _TABLES}
    shapes: dict[str, str] = {}
    entry, current, table = None, None, None
    for line in text.splitlines():
        if current is None and line in tables:
            table = tables[line]
        elif table is not None and (row := _TABLE_ROW.match(line)):
            table[int(row[1])] = row[2] or row[3] or ""
        elif current is not None and line.startswith("}"):
            current = None
        elif current is None and (head := _COMPUTATION.match(line)):
            current = computations[head[2]] = Computation(head[2])
            entry = head[2] if head[1] else entry
            shapes = {}
        elif current is not None and (found := _INSTRUCTION.match(line)):
            instruction = _instruction(found[2], found[3], is_root=bool(found[1]))
            shapes[instruction.name] = found[3]
            for operand in instruction.operands:
                _add_element(current, shapes, operand)
            current.instructions[instruction.name] = instruction
    if entry is None:
        raise ValueError("the text has no ENTRY computation")
    module = Module(computations, computations[entry], _frames(tables))
    _count_runs(module, entry, 1, fused=False)
    return module


def _instruction(name: str, text: str, *, is_root: bool) -> Instruction:
    shape, rest = _split_shape(text)
    opcode, _, rest = rest.partition("(")
    inside, attributes = _split_parenthesis(rest)
    return Instruction(
        name=name,
        opcode=opcode.strip(),
        arrays=tuple(_arrays(shape)),
        operands=tuple(_NAME.findall(inside)) if opcode.strip() not in _LITERAL else (inside,),
        attributes=attributes,
        is_root=is_root,
    )


def _add_element(computation: Computation, shapes: dict[str, str], name: str) -> None:
    """Add what gets an element of a tuple, where the text has ``%loop#3`` alone, as that of jaxlib 0.11 has.

    Args:
      computation: that has the tuple.
      shapes: by name, each followed by anything; the tuple's elements are added.
      name: of any operand.
    """
    whole, mark, index = name.rpartition("#")
    if not mark or name in computation.instructions:
        return
    _add_element(computation, shapes, whole)
    if name not in shapes:
        inside, _ = _split_parenthesis(shapes[whole][1:])
        shapes.update({f"{whole}#{place}": each for place, each in enumerate(_elements(inside))})
    computation.instructions[name] = Instruction(
        name, "get-tuple-element", tuple(_arrays(shapes[name])), (whole,), f", index={index}", is_root=False
    )


def _elements(shapes: str) -> Iterator[str]:
    """Split at the commas that are in no parenthesis, bracket or brace."""
    depth, start = 0, 0
    for position, character in enumerate(shapes):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            yield shapes[start:position].lstrip()
            start = position + 1
    yield shapes[start:].lstrip()


def _split_shape(text: str) -> tuple[str, str]:
    """Split the shape, an array or a parenthesised tuple, from what follows it."""
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    inside, rest = _split_parenthesis(text[1:])
    return inside, rest.lstrip()


def _split_parenthesis(text: str) -> tuple[str, str]:
    """Split after the parenthesis that closes one opened before ``text``."""
    depth = 1
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return text[:position], text[position + 1 :]
    raise ValueError(f"unbalanced parentheses in {text[:80]!r}")


def _arrays(shape: str) -> Iterator[Array]:
    for dtype, dims, layout in _ARRAY.findall(shape):
        _element_bits(dtype)  # an array of unknown size would count as none
        space = _ON_CHIP.search(layout)
        sizes = tuple(int(size) for size in re.findall(r"\d+", dims))
        yield Array(dtype, sizes, int(space[1]) if space else 0)


@functools.cache
def _element_bits(dtype: str) -> int:
    """Return the bits of an element, as HLO calls its type.

    Raises:
      ValueError: for a name that says no number of bits.
    """
    if dtype in _OTHER_BITS:
        return _OTHER_BITS[dtype]
    found = _ELEMENT_TYPE.fullmatch(dtype)
    if found is None:
        raise ValueError(
            f"the compiled module has arrays of {dtype}: nobody knows how large its elements are"
        )
    return int(found[1])


def _count_runs(module: Module, name: str, runs: int, *, fused: bool) -> None:
    """Add ``runs`` executions of a computation, and of what it calls."""
    computation = module.computations[name]
    computation.runs += runs
    computation.is_fused |= fused
    for instruction in computation.instructions.values():
        times = runs * (trip_count(module, computation, instruction) if instruction.opcode == "while" else 1)
        for each in called(instruction):
            inner = fused or instruction.opcode not in _RUN_AS_WRITTEN
            module.computations[each].caller, module.computations[each].outer = instruction, computation
            _count_runs(module, each, times, fused=inner)


def called(instruction: Instruction) -> list[str]:
    """Return the computations that an instruction runs."""
    found = _CALLED.findall(instruction.attributes)
    return [name.lstrip("%") for group in found for name in re.split(r", ?", group)]


def _frames(tables: dict[str, dict[int, str]]) -> dict[int, tuple[str, ...]]:
    """Return the source lines of every stack frame, innermost first."""
    files, _, locations, stack = (tables[name] for name in _TABLES)
    places = {}
    for number, text in locations.items():
        fields = _fields(text)
        places[number] = f"{files.get(fields['file_name_id'], '?')}:{fields['line']}"
    frames: dict[int, tuple[str, ...]] = {}
    for number in sorted(stack):  # a parent comes before its children
        fields = _fields(stack[number])
        # Parents are numbered from 1 for "none", so that a frame of its own number follows the one before it.
        outer = frames.get(fields["parent_frame_id"] - 1, ())
        frames[number] = (places.get(fields["file_location_id"], "?"), *outer)
    return frames


def _fields(text: str) -> dict[str, int]:
    """Return the numbers of ``file_name_id=1 line=9``."""
    return {name: int(value) for name, value in (part.split("=") for part in text.split())}


def trip_count(module: Module, computation: Computation, loop: Instruction) -> int:
    """Return how often a loop runs whose counter goes up by a constant until it meets another one.

    Such are the loops of ``lax.scan``, and those of products that the compiler does window by window, which
    it also unrolls: their counter goes up by several.

    Raises:
      ValueError: for any other loop.
    """
    if known := loop.attribute(r'"known_trip_count":\{"n":"(\d+)"'):
        return int(known)
    condition = module.computations[loop.attribute(r"condition=%?([\w.\-]+)") or ""]
    body = module.computations[loop.attribute(r"body=%?([\w.\-]+)") or ""]
    for each in (condition, body):
        each.caller, each.outer = loop, computation
    compare = _behind_views(condition, condition.root.name)
    if compare is not None and compare.opcode == "compare" and "direction=LT" in compare.attributes:
        counter = _place_in_parameter(condition, compare.operands[0])
        limit = _constant(condition, compare.operands[1])
        if limit is None and (place := _place_in_parameter(condition, compare.operands[1])) is not None:
            limit = _unchanged(body, place)
        if counter is not None and limit is not None:
            start, step = _initial(body, counter), _step(body, counter)
            if start is not None and step:
                return -(-(limit - start) // step)
    raise ValueError(f"the trip count of loop {loop.name} cannot be told: {compare and compare.attributes}")


def _step(body: Computation, counter: int) -> int | None:
    """Return by how much a loop's counter goes up in one trip."""
    total, value = 0, _behind_views(body, body.root.operands[counter])
    while value is not None and value.opcode == "add":
        constants = [_constant(body, name) for name in value.operands]
        left = [name for name, found in zip(value.operands, constants, strict=True) if found is None]
        if len(left) != 1:
            return None
        total += sum(found for found in constants if found is not None)
        value = _behind_views(body, left[0])
    is_counter = value is not None and _place_in_parameter(body, value.name) == counter
    return total if is_counter else None


def _initial(body: Computation, place: int) -> int | None:
    """Return the constant that an element of a loop's tuple starts as."""
    if body.caller is None or body.outer is None:
        return None
    values = _behind_views(body.outer, body.caller.operands[0])
    return _constant(body.outer, values.operands[place]) if values and values.opcode == "tuple" else None


def _constant(computation: Computation, name: str) -> int | None:
    """Return the integer that a value always is: a constant, or what a loop passes on unchanged."""
    value = _behind_views(computation, name)
    if value is None:
        return None
    if value.opcode == "constant":
        return int(value.operands[0]) if value.operands[0].lstrip("-").isdecimal() else None
    place = _place_in_parameter(computation, name)
    return None if place is None else _unchanged(computation, place)


def _unchanged(body: Computation, place: int) -> int | None:
    """Return the constant that an element of a loop's tuple starts as and stays."""
    if body.root.opcode != "tuple" or _place_in_parameter(body, body.root.operands[place]) != place:
        return None
    return _initial(body, place)


def _place_in_parameter(computation: Computation, name: str) -> int | None:
    """Return which element of the computation's tuple a value is; None if it is none."""
    value = _behind_views(computation, name)
    if value is None or value.tuple_index is None:
        return None
    of = computation.instructions.get(value.operands[0])
    return value.tuple_index if of is not None and of.opcode == "parameter" else None


def _behind_views(computation: Computation, name: str) -> Instruction | None:
    """Return what a value is a copy of."""
    value = computation.instructions.get(name)
    while value is not None and value.opcode in _VIEWS:
        value = computation.instructions.get(value.operands[0])
    return value
