"""How long a compiled step takes at least: what each resource needs at the speed of its data sheet."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.compiled.compile import CompiledStep
from t5lite.planning.hardware.links import Route, between_slices, goes_back, route

MATRIX_UNIT = "matrix unit"
MAIN_MEMORY = "main memory"
"""Further resources are those of ``links.route``."""


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Seconds of one step, by resource; a bound, since no resource is ever busy all the time."""

    seconds: dict[str, float]
    """By resource, longest first."""
    axis_seconds: dict[str, float]
    """Of collectives, by the axes of the mesh ("fsdp", "fsdp+tensor"); those that share links overlap."""
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
        for resource in _route(step, collective).resources:
            by_resource[resource].append(collective)
    busy = {resource: exchange_seconds(step, using) for resource, using in by_resource.items()}
    axis_seconds = {axes: exchange_seconds(step, along) for axes, along in by_axes.items()}
    needed = {
        MATRIX_UNIT: step.matrix_unit_flops / chip.flops_per_second,
        MAIN_MEMORY: step.memory_traffic / chip.memory_bandwidth,
        **busy,
    }
    return Roofline(
        seconds=_longest_first(needed),
        axis_seconds=_longest_first(axis_seconds),
        serial_seconds=step.serial_seconds + sum(axis_seconds.values()),
        model_flops_seconds=step.model_flops / chip.flops_per_second,
    )


def exchange_seconds(step: CompiledStep, collectives: Sequence[Collective]) -> float:
    """Return how long collectives take one after another, if nothing else uses their network.

    Permutes one way and the other go on at once, as each uses one direction of the links: a TPU's compiler
    writes a gather or scatter that goes on beside its product as such pairs.
    """
    there, back, others = 0.0, 0.0, 0.0
    for each in collectives:
        seconds = collective_seconds(step, each)
        if each.kind != "collective-permute":
            others += seconds
        elif _goes_back(step, each):
            back += seconds
        else:
            there += seconds
    return others + max(there, back)


def collective_seconds(step: CompiledStep, collective: Collective) -> float:
    """Return how long the runs of a collective in one step take, if nothing else uses their network."""
    return collective.total_bytes / _route(step, collective).bandwidth


def _route(step: CompiledStep, collective: Collective) -> Route:
    if not collective.group:
        return between_slices(step.topology)
    return route(step.topology, [step.places[number] for number in collective.group])


def _goes_back(step: CompiledStep, permute: Collective) -> bool:
    if len(permute.group) != 2:
        return False
    return goes_back(step.topology, *(step.places[number] for number in permute.group))


def _longest_first(seconds: dict[str, float]) -> dict[str, float]:
    return dict(sorted(seconds.items(), key=lambda each: -each[1]))
