"""Writes scheduled modules from steps that say how many seconds they need.

A second is a byte of main memory, two FLOPs of the matrix unit, or a byte that one of four devices in a row
sends the others: see ``test_timeline``. A step is a tuple: ``("product", seconds)``; ``("read", seconds)`` of
main memory; ``("copy", seconds, beside)`` from main memory, ``("gather", bytes, axes, beside)`` and
``("permute", bytes, way, beside)``, waited for after as many further steps as ``beside`` says; or
``("loop", trips, steps)``.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from t5lite.planning.compiled import hlo

GROUPS = {
    "tensor": "{{0,1,2,3}}",
    "fsdp": "{{0,4,8,12}}",
    "fsdp+tensor": "{{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}}",
}
PAIRS = {"there": "{{0,1}}", "back": "{{1,0}}"}
_FROM_NOTHING = 'custom-call(), custom_call_target="AllocateBuffer"'
Step = tuple[Any, ...]


def module(steps: Sequence[Step]) -> hlo.Module:
    """Return a module of one device that does the steps."""
    return hlo.parse(_Writer().text(steps))


def _array(seconds: int, space: str = ":S(1)") -> str:
    return f"u8[{seconds}]{{0{space}}}"


class _Writer:
    def __init__(self) -> None:
        self._computations: list[str] = []
        self._numbers = itertools.count()

    def text(self, steps: Sequence[Step]) -> str:
        entry = self._computation("ENTRY %main", steps)
        return "\n\n".join([*self._computations, entry])

    def _computation(self, name: str, steps: Sequence[Step]) -> str:
        head = [f"{name} (z: s32[]) -> s32[] {{", "  ROOT %z = s32[] parameter(0)"]
        return "\n".join([*head, *(f"  {line}" for line in self._lines(steps)), "}"])

    def _lines(self, steps: Sequence[Step]) -> Iterator[str]:
        ends: list[tuple[int, str]] = []
        for place, (kind, *how) in enumerate(steps):
            name = f"%{kind}{next(self._numbers)}"
            if kind == "loop":
                yield self._loop(name, *how)
            elif kind in ("product", "read"):
                yield from _alone(name, kind, *how)
            else:
                *how, beside = how
                yield from _started(name, kind, *how)
                ends.append((place + beside, f"{name}d = {_array(1)} {_OPCODES[kind]}-done({name})"))
            yield from (line for end, line in ends if end == place)
        yield from (line for end, line in ends if end >= len(steps))

    def _loop(self, name: str, trips: int, steps: Sequence[Step]) -> str:
        body, condition = f"{name}b", f"{name}c"
        self._computations += [self._computation(body, steps), self._computation(condition, ())]
        known = f'backend_config={{"known_trip_count":{{"n":"{trips}"}}}}'
        return f"{name} = s32[] while(%z), condition={condition}, body={body}, {known}"


_OPCODES = {"copy": "copy", "gather": "all-gather", "permute": "collective-permute"}


def _alone(name: str, kind: str, seconds: int) -> Iterator[str]:
    if kind == "read":
        yield f"{name}o = {_array(seconds, '')} {_FROM_NOTHING}"
        yield f"{name} = {_array(seconds)} negate({name}o)"
    else:
        contracted = "lhs_contracting_dims={0}, rhs_contracting_dims={0}"
        yield f"{name}o = {_array(seconds)} {_FROM_NOTHING}"
        yield f"{name} = {_array(1)} dot({name}o, {name}o), {contracted}"


def _started(name: str, kind: str, seconds: int, how: str = "") -> Iterator[str]:
    here, results, attributes = "", f"{_array(seconds)}, {_array(seconds, '')}", ""
    if kind == "gather":  # of four bytes each device sends three
        results, attributes = f"{_array(1)}, {_array(4 * seconds)}", f", replica_groups={GROUPS[how]}"
        here = ":S(1)"
    elif kind == "permute":
        results, attributes = f"{_array(1)}, {_array(seconds)}", f", source_target_pairs={PAIRS[how]}"
        here = ":S(1)"
    yield f"{name}o = {_array(seconds, here)} {_FROM_NOTHING}"
    yield f"{name} = ({results}) {_OPCODES[kind]}-start({name}o){attributes}"
