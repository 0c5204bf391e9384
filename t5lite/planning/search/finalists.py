"""The best candidates of a search, compiled: the fastest that fits with a margin is chosen."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from t5lite.core.errors import ConfigError
from t5lite.partitioning import make_partitioner
from t5lite.partitioning.compiler_options import Options, alternatives
from t5lite.planning.compiled.compile import CompiledStep, compile_step
from t5lite.planning.compiled.roofline import MATRIX_UNIT, Roofline, roofline
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.hardware.topology import compile_only_devices
from t5lite.planning.search.candidates import Candidate
from t5lite.planning.search.workload import Workload

MARGIN_BYTES = GIB
"""What a chosen step leaves free of each device, by the compiler's count. To that come the programs, those of
evaluations too, and batches that are loaded ahead."""
_WORTH = 0.01
"""Share of the step's time that other compiler options must save for a recipe to carry them."""
_NOT_CARRIED = f"saves less than {100 * _WORTH:.0f} %: not carried"


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate and what became of it in the compiler."""

    candidate: Candidate
    compiled: CompiledStep | None
    """None where the compiler refused the program."""
    roofline: Roofline | None
    problem: str | None
    """Why it is not chosen; None if it can be."""
    other_options: Options = ()
    """Compiler options that are not the table's, for the sake of comparison."""

    @property
    def seconds(self) -> float:
        """The step's time as the compiler scheduled it, which finalists are compared by."""
        return float("inf") if self.roofline is None else self.roofline.scheduled_seconds

    @property
    def can_be_faster(self) -> bool:
        """Whether more than its matrix products takes time, which other compiler options might save."""
        products = 0.0 if self.roofline is None else self.roofline.seconds[MATRIX_UNIT]
        return products < self.seconds * (1 - _WORTH)

    @property
    def rank(self) -> tuple[bool, float]:
        """What finalists are sorted by: those that can be chosen first, by their time."""
        return self.problem is not None, self.seconds

    def beside(self, plain: "Finalist") -> "Finalist":
        """Return this one, to be chosen only if its options save a hundredth of the ``plain`` one's time."""
        saves = self.seconds < plain.seconds * (1 - _WORTH)
        return self if saves or self.problem is not None else replace(self, problem=_NOT_CARRIED)


def chosen(finalists: Sequence[Finalist]) -> Finalist | None:
    """Return the fastest that can be chosen; None if there is none."""
    runnable = (each for each in finalists if each.problem is None)
    return min(runnable, key=lambda each: each.rank, default=None)


def compile_candidates(
    kinds: Sequence[Sequence[Candidate]],
    workload: Workload,
    number: int,
    *,
    announce: Callable[[str], None],
) -> list[Finalist]:
    """Compile the best of each kind for a topology that need not be here, and return them, best first.

    They are of ``number`` kinds. Where one does not fit with the margin, the next of its kind is compiled,
    which needs less; if no kind fits, the next kind: up to twice ``number`` in all, of which one is kept for
    each of those kinds. A kind is left out whose products alone take longer than the best compiled step. If
    the kinds are several, and the best is slower than its products, it is compiled with each other choice of
    compiler options, too.

    Args:
      kinds: of a search for the workload.
      workload: what is planned for.
      number: how many kinds to compile, at least 1.
      announce: is told what is compiled and, after the first, about how long is left.

    Raises:
      ConfigError: if the compiler is not installed, or does not know the topology.
    """
    given = workload.partitioning.compiler_options
    others = alternatives(workload.topology.chip.platform, given) if number > 1 else []
    most = min(2 * number, sum(map(len, kinds)))
    ways = min(number, len(kinds))
    compiler = _Compiler(workload, planned=ways + len(others), announce=announce)
    again = f", and the best with {len(others)} other choices of compiler options" if others else ""
    announce(
        f"compiling {ways} of them, up to {most} if some leave less than {MARGIN_BYTES / GIB:.2f} GiB free"
        f"{again}: a minute or several each"
    )
    finalists: list[Finalist] = []
    for place, kind in enumerate(kinds):
        best = chosen(finalists)
        if place >= number and best is not None:
            break
        if best is not None and kind[0].prediction.time.matrix_unit >= best.seconds:
            announce(f"not compiled, as its products alone take longer than that: {kind[0].words}")
            continue
        untried = max(0, ways - place - 1)  # kinds, of each of which one way at least is compiled
        for candidate in kind[: most - len(finalists) - untried]:
            finalists.append(compiler.compiled(candidate))
            if finalists[-1].problem is None:
                break
    best = chosen(finalists)
    if best is not None and best.can_be_faster:
        finalists += [compiler.compiled(best.candidate, other).beside(best) for other in others]
    return sorted(finalists, key=lambda each: each.rank)


class _Compiler:
    """Compiles candidates, and says before each about how long the rest takes."""

    def __init__(self, workload: Workload, *, planned: int, announce: Callable[[str], None]):
        self.planned = planned
        self._workload, self._announce = workload, announce
        self._devices = compile_only_devices(workload.topology)
        self._done, self._start = 0, time.monotonic()

    def compiled(self, candidate: Candidate, other: Options = ()) -> Finalist:
        """Return what becomes of a candidate, with other compiler options than the table's."""
        options = candidate.partitioning.compiler_options + other
        candidate = replace(candidate, partitioning=replace(candidate.partitioning, compiler_options=options))
        left = f", about {self._seconds_left:.0f} s left" if self._done else ""
        self._announce(f"compiling {self._done + 1} of {self.planned}{left}: {candidate.words}")
        step, problem = self._step(candidate)
        self._done += 1
        if problem is not None and not other:
            self.planned += 1
            self._announce(f"not chosen: {problem}")
        return Finalist(
            candidate=candidate,
            compiled=step,
            roofline=step and roofline(step),
            problem=problem,
            other_options=other,
        )

    @property
    def _seconds_left(self) -> float:
        return (time.monotonic() - self._start) / self._done * (self.planned - self._done)

    def _step(self, candidate: Candidate) -> tuple[CompiledStep | None, str | None]:
        workload = self._workload
        model = workload.model(candidate.execution.remat)
        try:
            step = compile_step(
                model,
                workload.built_optimizer(model),
                make_partitioner(candidate.partitioning, self._devices),
                workload.topology,
                workload.batch,
                replace(workload.step, num_microbatches=candidate.execution.num_microbatches),
            )
        except ConfigError as error:
            return None, str(error)
        return step, _problem(step)


def _problem(step: CompiledStep) -> str | None:
    if not step.fits:
        return "does not fit" if step.memory.needed > step.memory.available else f"refused: {step.refusal}"
    left = step.memory.available - step.memory.needed
    return None if left >= MARGIN_BYTES else f"leaves {left / GIB:.2f} GiB"
