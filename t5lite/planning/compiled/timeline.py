"""How long a compiled step takes in the order that the compiler put its instructions in.

A module for an accelerator is scheduled (``is_scheduled=true``): the instructions of a computation stand in
the order in which they run. One after another they keep the matrix unit or main memory busy, whichever they
need longer. What goes on beside them is started by one instruction (``all-gather-start``, ``copy-start``,
``async-start``, a fusion that spreads a collective over others) and waited for by another. Until then its
links, or main memory, work on it in what time the instructions between leave them. So

- a collective between whose start and end there is enough to do costs nothing, and one that has no such pair
  all that its links need;
- a resource works through what was started in order; permutes one way and the other do not share links;
- a loop takes as long as its body, trip by trip, and what was started before it goes on beside it.

This lies between the bounds of ``roofline``: no resource does two things at a time, and whoever waits, waits
for one that works. It is an estimate all the same, as instructions run at the speeds of the data sheet:
without the time to start one, with perfect tiles, with nothing for the vector unit to do.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.compiled.hlo import Computation, Instruction, Module, called, trip_count
from t5lite.planning.compiled.hlo_costs import MAIN_MEMORY, MATRIX_UNIT, Costs
from t5lite.planning.compiled.network import PERMUTE, Network

T = TypeVar("T")
_PASSED_ON = ("async-update", "bitcast", "opt-barrier")
"""Opcodes between the start of something and its end, whose value is that of their operand."""
_THERE, _BACK = " there", " back"


@dataclass(frozen=True, kw_only=True)
class Wait:
    """What everything else has to wait for."""

    collective: Collective | None
    """None for what is brought from main memory, or to it, ahead of time."""
    seconds: float
    """Of all its runs in a step."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A step as it is scheduled."""

    work_seconds: float
    """Of instructions one after another, each as long as it needs the matrix unit or main memory."""
    waits: tuple[Wait, ...]
    """Longest first."""

    @property
    def seconds(self) -> float:
        """Of the step."""
        return self.work_seconds + sum(wait.seconds for wait in self.waits)


def timeline(
    module: Module,
    costs: Costs,
    collectives: Iterable[tuple[Computation, Instruction, Collective]],
    network: Network,
) -> Timeline:
    """Return how long a step takes as it is scheduled.

    Args:
      module: whose instructions stand in the order in which they run.
      costs: of its instructions.
      collectives: of it, as ``collectives.located`` gives them.
      network: that it is compiled for.
    """
    run = _Schedule(module, costs, collectives, network).run(module.entry)
    waits = [Wait(collective=each, seconds=seconds) for each, seconds in run.waits.items() if seconds > 0]
    return Timeline(work_seconds=run.work_seconds, waits=tuple(sorted(waits, key=lambda wait: -wait.seconds)))


@dataclass
class _Run:
    """One run of a computation, from when nothing is under way until nothing is."""

    work_seconds: float = 0.0
    waits: dict[Collective | None, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    """Seconds by resource."""

    @property
    def seconds(self) -> float:
        return self.work_seconds + sum(self.waits.values())

    def add(self, other: "_Run", times: int) -> None:
        self.work_seconds += times * other.work_seconds
        _add(self.waits, other.waits, times)
        _add(self.busy, other.busy, times)


class _Queue:
    """What goes on beside the instructions of a run; each resource works through it in order."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[tuple[float, Collective | None]]] = defaultdict(deque)
        """By resource: when each ends, in seconds that the resource has worked, and what it is."""
        self._done: dict[str, float] = {}
        self.busy: dict[str, float] = {}
        """Seconds of all that was started, by resource."""

    def start(self, seconds: Mapping[str, float], collective: Collective | None) -> dict[str, float]:
        """Return when each resource will have ended it, in seconds that the resource has worked."""
        _add(self.busy, seconds)
        for resource in seconds:
            self._done.setdefault(resource, 0.0)
            self._asked[resource].append((self.busy[resource], collective))
        return {resource: self.busy[resource] for resource in seconds}

    def go_on(self, seconds: float, busy: Mapping[str, float]) -> None:
        """Let time pass in which instructions keep resources busy themselves."""
        for resource, asked in self._asked.items():
            done = self._done[resource] + seconds - busy.get(resource, 0.0)
            self._done[resource] = min(self.busy[resource], done)
            while asked and asked[0][0] <= self._done[resource]:
                asked.popleft()

    def wait(self, ends: Mapping[str, float]) -> dict[Collective | None, float]:
        """Let time pass until something has ended; return how much of it is for what."""
        last = max(ends, key=lambda resource: ends[resource] - self._done[resource], default=None)
        waits: dict[Collective | None, float] = {}
        if last is None:
            return waits
        start = so_far = self._done[last]
        for end, collective in self._asked[last]:
            if so_far >= ends[last]:
                break
            waits[collective] = waits.get(collective, 0.0) + end - so_far
            so_far = end
        self.go_on(so_far - start, {})
        return waits


class _Schedule:
    """Goes through the computations of a module in the order of their instructions."""

    def __init__(
        self,
        module: Module,
        costs: Costs,
        collectives: Iterable[tuple[Computation, Instruction, Collective]],
        network: Network,
    ) -> None:
        self._module, self._costs, self._network = module, costs, network
        self._collectives = {
            (computation.name, instruction.name): each for computation, instruction, each in collectives
        }

    def run(self, computation: Computation) -> _Run:
        """Return one run of a computation."""
        run, queue, under_way = _Run(), _Queue(), dict[str, dict[str, float]]()
        for instruction in computation.instructions.values():
            for key in self._ended_by(computation, instruction, [*under_way]):
                _add(run.waits, queue.wait(under_way.pop(key, {})))
            if instruction.opcode in ("while", "call"):
                inner = self._inner(computation, instruction)
                queue.go_on(inner.seconds, inner.busy)
                run.add(inner, 1)
                continue
            own, on_links, collective = self._needs(computation, instruction)
            if key := self._started_by(instruction):
                under_way[key] = queue.start(own | on_links, collective)
                continue
            ends = queue.start(on_links, collective)
            work = max(own.values())
            queue.go_on(work, own)
            run.work_seconds += work
            _add(run.busy, own)
            _add(run.waits, queue.wait(ends))
        for ends in under_way.values():
            _add(run.waits, queue.wait(ends))
        _add(run.busy, queue.busy)
        return run

    def _inner(self, computation: Computation, instruction: Instruction) -> _Run:
        """Return all runs of what a loop or a call runs, one after another."""
        times, total = self._times(computation, instruction), _Run()
        for name in called(instruction):
            total.add(self.run(self._module.computations[name]), times)
        return total

    def _times(self, computation: Computation, instruction: Instruction) -> int:
        """Return how often an instruction runs what it calls."""
        return trip_count(self._module, computation, instruction) if instruction.opcode == "while" else 1

    def _started_by(self, instruction: Instruction) -> str | None:
        """Return the key of what an instruction starts without waiting for it."""
        if instruction.opcode == "send":
            return _rendezvous(instruction) or instruction.name
        if _is_start(instruction):
            return instruction.name
        fused = self._fused(instruction)
        if fused is not None and fused.starts_collective:
            return next(_channels(fused), instruction.name)
        return None

    def _ended_by(
        self, computation: Computation, instruction: Instruction, under_way: Sequence[str]
    ) -> Iterator[str]:
        """Yield the keys of what has to have ended when an instruction runs."""
        fused = self._fused(instruction)
        if fused is not None and fused.ends_collective:
            yield from _channels(fused)
        if not instruction.opcode.endswith("-done"):
            return
        start = start_of(computation, instruction)
        if start is None:  # it may be of anything, and nothing is said to be hidden that might not be
            yield from under_way
            return
        yield start.name
        # What comes from other slices does so when what is sent there has arrived.
        yield _rendezvous(start) or start.name

    def _fused(self, instruction: Instruction) -> Computation | None:
        if instruction.opcode != "fusion":
            return None
        return self._module.computations[called(instruction)[0]]

    def _needs(
        self, computation: Computation, instruction: Instruction
    ) -> tuple[dict[str, float], dict[str, float], Collective | None]:
        """Return the seconds of an instruction and all that it calls: their own, of links, and for what."""
        matrix_unit, main_memory = self._costs.seconds(computation, instruction)
        own = {MATRIX_UNIT: matrix_unit, MAIN_MEMORY: main_memory}
        on_links: dict[str, float] = {}
        collective = self._collectives.get((computation.name, instruction.name))
        if collective is not None:
            on_links |= dict.fromkeys(self._ways(collective), self._network.run_seconds(collective))
        times = self._times(computation, instruction)
        for name in called(instruction):
            inside = self._module.computations[name]
            for each in inside.instructions.values():
                more, more_on_links, found = self._needs(inside, each)
                _add(own, more, times)
                _add(on_links, more_on_links, times)
                collective = collective or found
        return own, on_links, collective

    def _ways(self, collective: Collective) -> Iterator[str]:
        """Yield the directions of links that a collective keeps busy."""
        ways = (_THERE, _BACK)
        if collective.kind == PERMUTE:
            ways = (_BACK,) if self._network.goes_back(collective) else (_THERE,)
        for resource in self._network.route(collective).resources:
            yield from (resource + way for way in ways)


def _add(total: dict[T, float], more: Mapping[T, float], times: int = 1) -> None:
    for key, seconds in more.items():
        total[key] = total.get(key, 0.0) + times * seconds


def start_of(computation: Computation, done: Instruction) -> Instruction | None:
    """Return what an instruction waits for the end of; None if the computation does not show it."""
    indices: list[int] = []
    each = computation.instructions.get(done.operands[0])
    while each is not None and not _is_start(each):
        place = 0
        if each.tuple_index is not None:
            indices.append(each.tuple_index)
        elif each.opcode == "tuple" and indices:
            place = indices.pop()
        elif each.opcode not in _PASSED_ON:
            return None
        each = computation.instructions.get(each.operands[place])
    return each


def _is_start(instruction: Instruction) -> bool:
    return instruction.opcode.endswith("-start") or instruction.opcode in ("send", "recv")


def _rendezvous(transfer: Instruction) -> str | None:
    """Return by what name the two halves of an exchange between slices find each other."""
    return transfer.attribute(r'_xla_host_transfer_rendezvous="([^"]*)"')


def _channels(fused: Computation) -> Iterator[str]:
    """Yield the channels of collectives that are spread over several fusions, of which each names it."""
    for instruction in fused.instructions.values():
        if instruction.is_spread and (channel := instruction.attribute(r"channel_id=(\d+)")):
            yield f"channel {channel}"
