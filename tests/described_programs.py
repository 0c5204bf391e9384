"""What a lowered program computes, in lines whose diff can be read.

Read from StableHLO's operations, not from its text: names of functions and values, and the order of what does
not depend on one another, are left out, since they say nothing and change with releases of JAX.
"""

import hashlib
import re
from collections import Counter, defaultdict
from typing import Any, TypeAlias

Values: TypeAlias = dict[Any, str]
"""Digests of values by value: of the operation, and of what it reads."""

_TYPE = re.compile(r"tensor<(?:([\dx]+)x)?(\w+)>")
_SPLAT = re.compile(r"dense<([^\"\[>]+)>")
_DIMENSIONS = re.compile(r"[lr]hs_(\w+)_dimensions = \[([\d, ]+)\]")


def described(lowered: Any) -> list[str]:
    """Return how often each kind of operation is in a program, loop by loop, and a digest.

    The digest is of what every result is computed from, and how: it changes also where no number does, with
    another operand or a transposition. What a loop does counts once, whatever the times that it runs.

    Args:
      lowered: ``jax.stages.Lowered``.
    """
    program = _Program(lowered)
    lines = []
    for place, counts in sorted(program.counts.items()):
        sorts = sorted(counts.items())
        lines += [place, *(f"  {number} {name}" for name, number in sorts if " " in name)]
        lines += ["  " + ", ".join(f"{number} {name}" for name, number in sorts if " " not in name)]
        lines += ["  constants " + ", ".join(sorted(program.constants[place]))]
    return [*lines, f"digest {program.digest}"]


class _Program:
    def __init__(self, lowered: Any) -> None:
        operations = [each.operation for each in lowered.compiler_ir("stablehlo").body.operations]
        self._functions = {
            each.attributes["sym_name"].value: each.regions[0].blocks[0]
            for each in operations
            if each.name == "func.func"
        }
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.constants: dict[str, set[str]] = defaultdict(set)
        main = self._functions["main"]
        self.digest = _digest(*self._block(main, _by_place(main), {}, "once"))

    def _block(self, block: Any, arguments: list[str], values: Values, place: str) -> list[str]:
        """Count what a block does (unless its place is ""); return the digests of its results."""
        values.update(zip(block.arguments, arguments, strict=True))
        *operations, last = (each.operation for each in block.operations)
        for operation in operations:
            read = [values[each] for each in operation.operands]
            if operation.name == "func.call":
                callee = self._functions[operation.attributes["callee"].value]
                results = self._block(callee, read, {}, place)
            elif operation.name == "stablehlo.while":
                results = self._loop(operation, read, values, place)
            else:
                results = self._operation(operation, read, values, place)
            if place and operation.name == "stablehlo.constant":
                self.constants[place].add(_constant(operation))
            elif place and operation.name != "func.call":
                self.counts[place][_name(operation)] += 1
            values.update(zip(operation.results, results, strict=True))
        return [values[each] for each in last.operands]

    def _operation(self, operation: Any, read: list[str], values: Values, place: str) -> list[str]:
        # A branch is part of the program; any other body says what the operation does (reduce: add).
        inner = place if operation.name == "stablehlo.case" else ""
        bodies = [
            each
            for region in operation.regions
            for block in region.blocks
            for each in self._block(block, _by_place(block), values, inner)
        ]
        said = sorted(f"{each.name}={each.attr}" for each in _attributes(operation))
        types = [each.type for each in operation.results]
        whole = _digest(operation.name, *said, *types, *read, *bodies)
        return [_digest(whole, index) for index in range(len(types))]

    def _loop(self, operation: Any, read: list[str], values: Values, place: str) -> list[str]:
        """Whatever a loop carries is known by what it is at first, not by its place among the rest."""
        condition, body = (region.blocks[0] for region in operation.regions)
        carried = [_digest("carried", each) for each in read]
        asked = self._block(condition, carried, values, "")
        inner = place and ("" if place == "once" else f"{place}, ") + _times(condition)
        ends = self._block(body, carried, values, inner)
        return [_digest("loop", *asked, *each) for each in zip(read, ends, strict=True)]


def _by_place(block: Any) -> list[str]:
    return [_digest("argument", index, each.type) for index, each in enumerate(block.arguments)]


def _digest(*parts: Any) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def _times(condition: Any) -> str:
    """A scan counts to a number; another loop goes on until something holds."""
    names = [each.operation.name for each in condition.operations]
    if names != ["stablehlo.constant", "stablehlo.compare", "stablehlo.return"]:
        return "until it holds"
    return f"{_splat(condition.operations[0].operation)} times"


def _splat(constant: Any) -> str:
    value = _SPLAT.match(str(constant.attributes["value"]))
    return value[1] if value else f"table {_digest(constant.attributes['value'])}"


def _constant(operation: Any) -> str:
    return f"{_splat(operation)} {_shape(operation.results[0].type).partition('[')[0]}"


def _shape(kind: Any) -> str:
    found = _TYPE.fullmatch(str(kind))
    if not found:
        return str(kind)
    return f"{found[2]}[{(found[1] or '').replace('x', ',')}]"


def _name(operation: Any) -> str:
    """The kind of operation; with shapes and what else tells most, where it is work or layout."""
    name = operation.name.partition(".")[2]
    says = {each.name: str(each.attr) for each in _attributes(operation)}
    read, made = (
        [_shape(each.type) for each in values] for values in (operation.operands, operation.results)
    )
    match name:
        case "convert":
            return f"convert {read[0].partition('[')[0]} to {made[0].partition('[')[0]}"
        case "dot_general":
            pairs = defaultdict(list)
            for kind, numbers in _DIMENSIONS.findall(says["dot_dimension_numbers"]):
                pairs[kind].append(f"({numbers})")
            how = ", ".join(f"{kind} {' x '.join(sides)}" for kind, sides in pairs.items())
        case "reduce":
            *body, _ = operation.regions[0].blocks[0].operations
            read = read[: len(made)]
            names = [each.operation.name.partition(".")[2] for each in body]
            how = f"{' '.join(names)} over {says['dimensions'].partition(': ')[2].removesuffix('>')}"
        case "sharding_constraint":
            return f"{name} {made[0]}  {says['sharding'].partition(', ')[2].removesuffix('>')}"
        case "custom_call":
            how = says["call_target_name"]
        case "gather" | "scatter":
            how = ""
        case _:
            return name
    return f"{name} {' x '.join(read)} -> {', '.join(made)}  {how}".rstrip()


def _attributes(operation: Any) -> list[Any]:
    # By number: what iterating yields is names in some releases.
    return [operation.attributes[index] for index in range(len(operation.attributes))]
