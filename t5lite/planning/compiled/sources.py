"""Where in the code an instruction of a compiled module comes from."""

from collections.abc import Iterator

from t5lite.planning.compiled.hlo import Computation, Instruction, Module

_PACKAGE = "t5lite/"
_PASSED_THROUGH = ("/t5lite/models/layers/projection.py:",)
"""Lines that all products go through, and that say nothing of which one it is."""
_SLICED_WRITE = "dynamic-update-slice"
_VIEWS = ("bitcast", "reshape", "copy", "transpose", "broadcast", "convert")


def source_line(module: Module, instruction: Instruction) -> str:
    """Return "t5lite/…/file.py:line": this package's innermost telling line, else the innermost there is.

    Empty for what the compiler added without saying why.
    """
    frame = module.frame(instruction)
    ours = [line for line in frame if f"/{_PACKAGE}" in line]
    telling = [line for line in ours if not any(passed in line for passed in _PASSED_THROUGH)]
    if ours:
        return _PACKAGE + (telling or ours)[0].rpartition(f"/{_PACKAGE}")[2]
    return frame[0].rpartition("site-packages/")[2] if frame else ""


def origin(module: Module, computation: Computation, instruction: Instruction, place: int = 0) -> Instruction:
    """Return the instruction that says best where one comes from: itself, or what it is made of or for.

    An array of all layers is written slice by slice, and what matters is what made the slice. A collective
    that the compiler put into a computation of its own is for whatever calls that computation.

    Args:
      module: that holds it.
      computation: that holds it.
      instruction: to explain.
      place: of the value in question, where the instruction returns a tuple.
    """
    candidates = list(_candidates(module, computation, instruction, place))
    by_frame = (each for each in candidates if module.frame(each))
    by_name = (each for each in candidates if each.op_name)
    return next(by_frame, next(by_name, instruction))


def _candidates(
    module: Module, computation: Computation, instruction: Instruction, place: int
) -> Iterator[Instruction]:
    fused = module.computations.get(instruction.attribute(r"calls=%?([\w.\-]+)") or "")
    if fused is not None:
        root = fused.root
        if root.opcode == "tuple":
            root = next(_makers(fused, root.operands[place]), root)
        yield from _makers(fused, root.operands[1] if root.opcode == _SLICED_WRITE else root.name)
    elif instruction.opcode == _SLICED_WRITE:
        yield from _makers(computation, instruction.operands[1])
    yield instruction
    # Several collectives that the compiler combined have lost their names.
    for name in instruction.operands[:1]:
        yield from _makers(computation, name)
    if computation.caller is not None:
        yield computation.caller


def _makers(computation: Computation, name: str) -> Iterator[Instruction]:
    """Yield what made a value: behind views and conversions first."""
    found = []
    while name in computation.instructions:
        maker = computation.instructions[name]
        found.append(maker)
        if maker.opcode not in _VIEWS or not maker.operands:
            break
        name = maker.operands[0]
    yield from reversed(found)
