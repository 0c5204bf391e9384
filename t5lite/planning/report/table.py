"""The human-readable report on a compiled step."""

import itertools
from collections.abc import Iterable, Sequence

from t5lite.partitioning import AXES
from t5lite.planning.report.summary import Summary

KINDS = {
    "parameters": "parameters",
    "optimizer": "optimizer state",
    "batch": "batch",
    "activations": "activations",
    "temporaries": "gradients, temporaries",
    "gaps": "gaps between buffers",
}
"""The parts of memory in the order in which they are shown, and how they are called."""


def table(summary: Summary) -> str:
    """Return the report in lines of about a hundred characters."""
    return "\n\n".join(
        [
            _head(summary),
            _memory(summary),
            _time(summary),
            _largest(summary),
            *([_traffic(summary)] if "traffic" in summary else []),
        ]
    )


def size(num_bytes: float) -> str:
    """Return bytes with a unit and three digits: ``1.81 GiB``."""
    return _scaled(num_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def duration(seconds: float) -> str:
    """Return seconds with a unit and three digits: ``86.4 ms``."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return _scaled(seconds * 1e6, 1000, ("us", "ms", "s"))


def flops(number: float) -> str:
    """Return FLOPs with a unit: ``17.7 TFLOP``."""
    return _scaled(number, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def mesh(summary: Summary) -> str:
    """Return the mesh's axes: ``fsdp=16 x tensor=16``."""
    sizes = summary["mesh"]
    return " x ".join(f"{axis}={sizes[axis]}" for axis in AXES if axis in sizes) or "one device"


def verdict(summary: Summary) -> str:
    """Return whether it fits, in one line."""
    memory = summary["memory"]
    share = memory["needed"] / memory["available"]
    asked = f"{size(memory['needed'])} of {size(memory['available'])} a device ({share:.0%})"
    if summary["fits"]:
        return f"fits: {asked}"
    if share <= 1:
        return f"does not fit, though it wants {asked}; the compiler says: {summary['refusal']}"
    return f"does not fit: wants {asked}"


def scheduled(summary: Summary) -> str:
    """Return how long a step takes as it is scheduled, and what of it is waiting."""
    time, waits = summary["time"], summary["time"]["waits"]
    kinds = {"collectives": "collectives", "main_memory": "copies from and to main memory"}
    waiting = [f"{duration(waits[kind])} waiting for {name}" for kind, name in kinds.items() if waits[kind]]
    whole = f"{duration(time['scheduled'])} (MFU {time['scheduled_mfu']:.0%})"
    return f"{whole}, {' and '.join(waiting)}" if waiting else whole


def rows(cells: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)) -> list[str]:
    """Return aligned lines; columns are right-aligned unless they are in ``left``."""
    lines = [list(line) for line in cells]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*lines, fillvalue="")]
    return [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in lines
    ]


def _head(summary: Summary) -> str:
    count, time = summary["flops"], summary["time"]
    return "\n".join(
        [
            f"{summary['topology']}, {summary['devices']} devices, mesh {mesh(summary)}",
            verdict(summary),
            f"a step takes at least {duration(time['step'])} ({time['limiting']}; MFU at most "
            f"{time['mfu']:.0%}), and {duration(time['serial'])} if nothing overlaps (MFU "
            f"{time['serial_mfu']:.0%})",
            f"as scheduled about {scheduled(summary)}",
            f"{flops(count['counted'])} a device, {count['counted_over_model']:.3f} of the model's "
            f"{flops(count['model'])}",
            *(f"compiler option {name}={value}" for name, value in summary["compiler_options"].items()),
        ]
    )


def _memory(summary: Summary) -> str:
    memory = summary["memory"]
    parts = [
        (name, size(memory[kind]), f"{memory[kind] / memory['available']:.1%}")
        for kind, name in KINDS.items()
    ]
    return "\n".join(["memory of a device", *(f"  {line}" for line in rows(parts))])


def _time(summary: Summary) -> str:
    time = summary["time"]["by_resource"]
    resources = [(name, duration(seconds)) for name, seconds in time.items()]
    networks = [
        (f"over {row['axes']}", f"{size(row['bytes'])}", duration(row["seconds"]))
        for row in summary["network"]
    ]
    return "\n".join(
        [
            "time of a step, by resource",
            *(f"  {line}" for line in rows(resources)),
            *(["collectives, by axes of the mesh"] if networks else []),
            *(f"  {line}" for line in rows(networks)),
        ]
    )


def _largest(summary: Summary) -> str:
    buffers = [
        (size(row["bytes"]), f"{row['count']} x", row["shape"], row["kind"], _where(row))
        for row in summary["buffers"]
    ]
    collectives = [
        (
            duration(row["waited_seconds"]),
            f"of {duration(row['seconds'])}",
            size(row["bytes"]),
            row["kind"],
            row["axes"],
            _where(row),
        )
        for row in summary["collectives"]
    ]
    return "\n".join(
        [
            "largest in memory at the peak",
            *(f"  {line}" for line in rows(buffers, left=(2, 3, 4))),
            *(["collectives, most waited for first; of the time that they need"] if collectives else []),
            *(f"  {line}" for line in rows(collectives, left=(3, 4, 5))),
        ]
    )


def _traffic(summary: Summary) -> str:
    """Return the listing of main memory's traffic: bytes, share, share so far, kind, line of code."""
    listed = [
        (size(row["bytes"]), f"{row['share']:.1%}", f"{row['cumulative']:.1%}", row["kind"], _where(row))
        for row in summary["traffic"]
    ]
    head = f"traffic of main memory, {size(summary['memory_traffic'])} a step, by line; share, share so far"
    return "\n".join([head, *(f"  {line}" for line in rows(listed, left=(3, 4)))])


def _where(row: Summary) -> str:
    """Return the line of code, and the end of JAX's name for the operation."""
    operation = row["op_name"].rpartition("/")[2].rstrip(")") if row["source"] else row["op_name"]
    return " ".join(filter(None, (row["source"], operation)))


def _scaled(number: float, base: int, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if abs(number) < base * 0.9995:
            return f"{number:.3g} {unit}"
        number /= base
    return f"{number:.3g} {units[-1]}"
