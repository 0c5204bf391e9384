"""How long a compiled step takes at least: what each resource needs at the speed of its data sheet."""

from collections import defaultdict
from dataclasses import dataclass

from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.compiled.compile import CompiledStep
from t5lite.planning.compiled.hlo_costs import MAIN_MEMORY, MATRIX_UNIT


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Seconds of one step, by resource; a bound, since no resource is ever busy all the time."""

    seconds: dict[str, float]
    """By resource, longest first."""
    axis_seconds: dict[str, float]
    """Of collectives, by the axes of the mesh ("fsdp", "fsdp+tensor"); those that share links overlap."""
    scheduled_seconds: float
    """As the compiler's schedule has it (``timeline``): an estimate, between the bounds."""
    serial_seconds: float
    """If nothing overlapped: instructions one after another, and then all collectives."""
    model_flops_seconds: float
    """What the model's own FLOPs take, without recomputation."""

    @property
    def limiting(self) -> str:
        """The resource that takes longest."""
        return next(iter(self.seconds))

    @property
    def step_seconds(self) -> float:
        """The step's time if everything overlapped: that of the limiting resource."""
        return self.seconds[self.limiting]

    @property
    def mfu(self) -> float:
        """Model FLOPs utilisation at ``step_seconds``: no step can have more."""
        return self.model_flops_seconds / self.step_seconds

    @property
    def scheduled_mfu(self) -> float:
        """Model FLOPs utilisation at ``scheduled_seconds``."""
        return self.model_flops_seconds / self.scheduled_seconds

    @property
    def serial_mfu(self) -> float:
        """Model FLOPs utilisation at ``serial_seconds``."""
        return self.model_flops_seconds / self.serial_seconds


def roofline(step: CompiledStep) -> Roofline:
    """Return what each resource needs for a step.

    A collective keeps every dimension of the torus busy that its devices span, so that collectives over
    different axes of the mesh add up where they share a dimension.
    """
    chip = step.topology.chip
    by_resource: dict[str, list[Collective]] = defaultdict(list)
    by_axes: dict[str, list[Collective]] = defaultdict(list)
    for collective in step.collectives:
        by_axes["+".join(collective.axes)].append(collective)
        for resource in step.network.route(collective).resources:
            by_resource[resource].append(collective)
    busy = {resource: step.network.exchange_seconds(using) for resource, using in by_resource.items()}
    axis_seconds = {axes: step.network.exchange_seconds(along) for axes, along in by_axes.items()}
    needed = {
        MATRIX_UNIT: step.matrix_unit_flops / chip.flops_per_second,
        MAIN_MEMORY: step.memory_traffic / chip.memory_bandwidth,
        **busy,
    }
    return Roofline(
        seconds=_longest_first(needed),
        axis_seconds=_longest_first(axis_seconds),
        scheduled_seconds=step.timeline.seconds,
        serial_seconds=step.serial_seconds + sum(map(step.network.seconds, step.collectives)),
        model_flops_seconds=step.model_flops / chip.flops_per_second,
    )


def _longest_first(seconds: dict[str, float]) -> dict[str, float]:
    return dict(sorted(seconds.items(), key=lambda each: -each[1]))
