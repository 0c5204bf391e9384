"""What runs take on a slice: memory, days, chip-hours and money, at the pace that the planner finds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.report import plan_report
from t5lite.planning.report.table import size
from t5lite.planning.search.candidates import search
from t5lite.planning.search.finalists import MARGIN_BYTES, chosen, compile_candidates
from t5lite.planning.search.workload import Workload
from t5lite.run_config import RunConfig
from t5lite.runner.planned_recipe import workload_of
from t5lite.scaling.counting import count_run

_HOUR, _DAY = 3600, 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a step runs in the way that is chosen for it."""

    seconds: float
    """Of a step: as the compiler scheduled it, or predicted."""
    memory_bytes: float
    """Of a device: as the compiler counts, or predicted."""
    way: str
    """Mesh, style, remat policy, microbatches."""


@dataclass(frozen=True, kw_only=True)
class RunsCost:
    """What some runs take, one after another, on one slice."""

    topology: Topology
    parameters: tuple[int, ...]
    """Of each run."""
    tokens: int
    """That enter the models, of both sides, in all these steps."""
    steps: int
    """That all runs train; not those that others have made for them."""
    seconds: float
    """Of all steps; evaluations, checkpoints and restarts are not counted."""
    slowest: Pace
    """Of the run whose step takes longest."""
    memory_bytes: float
    """Of a device, of the run that needs most."""

    @property
    def days(self) -> float:
        """Days of the slice."""
        return self.seconds / _DAY

    @property
    def chip_hours(self) -> float:
        """Hours of all its chips."""
        return self.seconds / _HOUR * math.prod(self.topology.shape) * self.topology.num_slices


def runs_cost(
    runs: Sequence[RunConfig],
    topology: Topology,
    *,
    own_steps: Sequence[int],
    compiles: int = 0,
    announce: Callable[[str], None] = lambda text: None,
) -> RunsCost:
    """Return what runs take on a slice, each in the way that ``t5lite plan`` chooses for its step.

    Args:
      runs: at least one.
      topology: the slice, or several.
      own_steps: of each run, those that it trains itself: all, or those after the checkpoint of another run
        that it goes on from.
      compiles: how many of the best ways of each step to compile; 0 goes by the prediction, which is
        optimistic.
      announce: is told what is compiled.

    Raises:
      ConfigError: if a run goes by epochs, or nothing fits.
    """
    counts = [count_run(run) for run in runs]
    workloads = [workload_of(run, topology) for run in runs]
    paces = {each: _pace(each, compiles, announce) for each in dict.fromkeys(workloads)}
    shares = [own / run.training.total_steps for own, run in zip(own_steps, runs, strict=True)]
    return RunsCost(
        topology=topology,
        parameters=tuple(count.params for count in counts),
        tokens=sum(round(share * count.tokens) for share, count in zip(shares, counts, strict=True)),
        steps=sum(own_steps),
        seconds=sum(number * paces[each].seconds for number, each in zip(own_steps, workloads, strict=True)),
        slowest=max(paces.values(), key=lambda pace: pace.seconds),
        memory_bytes=max(pace.memory_bytes for pace in paces.values()),
    )


def _pace(workload: Workload, compiles: int, announce: Callable[[str], None]) -> Pace:
    found = search(workload.costs(), trainable=workload.trainable, kept=workload.partitioning)
    chip = workload.topology.chip
    if not found.ranked:
        raise ConfigError(
            plan_report.nothing_fits(found, heading=str(workload.topology), memory_bytes=chip.memory_bytes)
        )
    if not compiles:
        best = found.ranked[0]
        return Pace(
            seconds=best.prediction.time.step, memory_bytes=best.prediction.memory.total, way=best.words
        )
    best = chosen(compile_candidates(found.kinds, workload, compiles, announce=announce))
    if best is None or best.compiled is None:
        raise ConfigError(
            f"nothing that was compiled leaves {size(MARGIN_BYTES)} free: {plan_report.REMEDIES}"
        )
    return Pace(seconds=best.seconds, memory_bytes=best.compiled.memory.needed, way=best.candidate.words)
