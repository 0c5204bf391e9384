"""What is said about a compiled step, as one JSON value; the table and the page are made of it."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict
from typing import Any, TypeVar

from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.compiled.compile import CompiledStep
from t5lite.planning.compiled.roofline import roofline

Summary = dict[str, Any]
T = TypeVar("T")


def summarise(step: CompiledStep, *, top: int = 10, traffic: bool = False) -> Summary:
    """Return sizes in bytes and times in seconds of one step on one device.

    Args:
      step: what was compiled.
      top: how many buffers, collectives and matrix products are listed, the largest first.
      traffic: whether to list main memory's traffic, too.
    """
    time = roofline(step)
    chip = step.topology.chip
    memory = {**asdict(step.memory), "peak": step.memory.peak, "needed": step.memory.needed}
    return {
        "topology": str(step.topology),
        "devices": step.topology.num_devices,
        "chip": {"name": step.topology.chip_name, **asdict(chip)},
        "mesh": {axis: size for axis, size in step.mesh.items() if size > 1},
        "compiler_options": dict(step.compiler_options),
        "fits": step.fits,
        "refusal": step.refusal,
        "memory": memory,
        "flops": {
            "counted": step.flops,
            "model": step.model_flops,
            "counted_over_model": step.flops / step.model_flops,
            "matrix_unit": step.matrix_unit_flops,
        },
        "memory_traffic": step.memory_traffic,
        "time": {
            "by_resource": time.seconds,
            "by_axes": time.axis_seconds,
            "limiting": time.limiting,
            "step": time.step_seconds,
            "scheduled": time.scheduled_seconds,
            "waits": {
                "collectives": sum(each.seconds for each in step.timeline.waits if each.collective),
                "main_memory": sum(each.seconds for each in step.timeline.waits if not each.collective),
            },
            "serial": time.serial_seconds,
            "mfu": time.mfu,
            "scheduled_mfu": time.scheduled_mfu,
            "serial_mfu": time.serial_mfu,
        },
        "network": _networks(step),
        "buffers": _buffers(step)[:top],
        "collectives": _collectives(step)[:top],
        "products": _products(step)[:top],
        **({"traffic": _traffic(step)[:top]} if traffic else {}),
        "compile_seconds": step.compile_seconds,
    }


def _networks(step: CompiledStep) -> list[Summary]:
    groups = _grouped(step.collectives, lambda each: ("+".join(each.axes), each.network))
    rows = [
        {
            "axes": axes,
            "network": network,
            "runs": sum(each.runs for each in found),
            "bytes": sum(each.total_bytes for each in found),
            "seconds": step.network.exchange_seconds(found),
        }
        for (axes, network), found in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


def _buffers(step: CompiledStep) -> list[Summary]:
    """Return the buffers at the peak, those of one kind, shape and line together."""
    groups = _grouped(step.buffers, lambda each: (each.kind, each.shape, each.source or each.op_name))
    rows = [
        {
            "kind": kind,
            "shape": shape,
            "count": len(found),
            "bytes": sum(each.num_bytes for each in found),
            "source": found[0].source,
            "op_name": found[0].op_name,
        }
        for (kind, shape, _), found in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def _collectives(step: CompiledStep) -> list[Summary]:
    """Return the collectives, those of one kind, axes and line together, most waited for first."""

    def together(each: Collective) -> Hashable:
        return each.kind, each.axes, each.source or each.op_name

    groups = _grouped(step.collectives, together)
    waited: dict[Hashable, float] = defaultdict(float)
    for wait in step.timeline.waits:
        if wait.collective is not None:
            waited[together(wait.collective)] += wait.seconds
    rows = [
        {
            "kind": kind,
            "axes": "+".join(axes),
            "runs": sum(each.runs for each in found),
            "bytes": sum(each.total_bytes for each in found),
            "seconds": sum(map(step.network.seconds, found)),
            "waited_seconds": waited[key],
            "source": found[0].source,
            "op_name": found[0].op_name,
        }
        for key, found in groups.items()
        for kind, axes, _ in (key,)
    ]
    return sorted(rows, key=lambda row: (-row["waited_seconds"], -row["seconds"]))


def _products(step: CompiledStep) -> list[Summary]:
    """Return the matrix products by line."""
    groups = _grouped(step.products, lambda each: each.source or each.op_name)
    rows = [
        {
            "source": found[0].source,
            "op_name": found[0].op_name,
            "flops": sum(each.flops for each in found),
        }
        for found in groups.values()
    ]
    return sorted(rows, key=lambda row: -row["flops"])


def _traffic(step: CompiledStep) -> list[Summary]:
    """Return main memory's traffic by line and kind of instruction, each with its share and that so far."""
    groups = _grouped(step.transfers, lambda each: (each.source or each.op_name, each.kind))
    rows = [
        {
            "source": found[0].source,
            "op_name": found[0].op_name,
            "kind": found[0].kind,
            "instructions": len(found),
            "bytes": sum(each.num_bytes for each in found),
        }
        for found in groups.values()
    ]
    rows.sort(key=lambda row: -row["bytes"])
    sums = itertools.accumulate(row["bytes"] for row in rows)
    return [
        {**row, "share": row["bytes"] / step.memory_traffic, "cumulative": so_far / step.memory_traffic}
        for row, so_far in zip(rows, sums, strict=True)
    ]


def _grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> dict[Any, list[T]]:
    groups: dict[Any, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
