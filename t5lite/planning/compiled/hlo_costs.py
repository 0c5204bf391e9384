"""FLOPs and bytes of one device, counted in a compiled module with every loop's trips.

FLOPs are those of matrix products (a multiply-add is two), which a TPU's compiler writes as convolutions,
counted as XLA's ``HloCostAnalysis`` counts them (JAX has it for whole modules only), and those that a kernel
says it has. Bytes are what instructions read and write in main memory; what stays on the chip (a fusion's
inside, a TPU's vector memory) is left out.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from t5lite.planning.compiled.hlo import Array, Computation, Instruction, Module
from t5lite.planning.compiled.sources import origin, source_line

_FREE = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call"),
        *("after-all", "copy-done", "all-gather-done", "all-reduce-done", "collective-permute-done"),
        *(
            "async-done",
            "async-update",
            "partition-id",
            "replica-id",
            "opt-barrier",
            "send-done",
            "recv-done",
        ),
    )
)
"""Opcodes that move nothing themselves."""
_SLICES = ("dynamic-slice", "slice", "gather")
_UPDATE = "dynamic-update-slice"
_CUBLAS = 'custom_call_target="__cublas$'
"""How a GPU's compiler calls matrix products of the library."""
_PRECISION_PASSES = {"highest": 6, "high": 3}
"""Passes of a TPU's bfloat16 matrix unit for one float32 product."""


@dataclass(frozen=True)
class Product:
    """One matrix product."""

    op_name: str
    """Where it comes from, as JAX names it."""
    source: str
    """The line of code that it comes from, if the compiler knows."""
    flops: float
    """Of all its runs."""
    passes: int
    """How many times the matrix unit does them."""


def products(module: Module) -> list[Product]:
    """Return every matrix product of the module."""
    found = []
    for computation, instruction in module.walk():
        if flops := _flops(computation, instruction):
            told = origin(module, computation, instruction)
            found.append(
                Product(
                    op_name=told.op_name,
                    source=source_line(module, told),
                    flops=computation.runs * flops,
                    passes=_passes(instruction),
                )
            )
    return found


def main_memory_bytes(module: Module) -> float:
    """Return the bytes that all instructions together read from and write to main memory."""
    return sum(
        computation.runs * _traffic(module, computation, instruction)
        for computation, instruction in module.walk()
        if not computation.is_fused and instruction.opcode not in _FREE
    )


def serial_seconds(module: Module, *, flops_per_second: float, memory_bandwidth: float) -> float:
    """Return how long the instructions take one after another, each bound by its products or its traffic.

    Collectives are left out. Copies that the compiler starts ahead of time are taken as if they were not.
    """
    seconds = 0.0
    for computation, instruction in module.walk():
        if computation.is_fused or instruction.opcode in _FREE:
            continue
        flops = _flops(computation, instruction) * _passes(instruction)
        if instruction.opcode == "fusion":
            flops = _inner_flops(module, instruction)
        traffic = _traffic(module, computation, instruction)
        seconds += computation.runs * max(flops / flops_per_second, traffic / memory_bandwidth)
    return seconds


def _inner_flops(module: Module, fusion: Instruction) -> float:
    """Return what the matrix unit does in one run of a fusion, those inside it included."""
    fused = _fused(module, fusion)
    return sum(
        _inner_flops(module, each) if each.opcode == "fusion" else _flops(fused, each) * _passes(each)
        for each in fused.instructions.values()
    )


def _fused(module: Module, fusion: Instruction) -> Computation:
    return module.computations[fusion.attribute(r"calls=%?([\w.\-]+)") or ""]


def _flops(computation: Computation, instruction: Instruction) -> float:
    """Return the FLOPs of one run of a matrix product or a kernel; 0 for any other instruction."""
    if instruction.opcode == "convolution":
        return _convolution_flops(computation, instruction)
    if instruction.opcode == "dot":
        contracted = instruction.attribute(r"lhs_contracting_dims=\{([\d,]*)\}") or ""
        return _dot_flops(computation, instruction, contracted)
    if instruction.opcode == "custom-call" and _CUBLAS in instruction.attributes:
        found = instruction.attribute(r'"lhs_contracting_dimensions":\[([^\]]*)\]') or ""
        return _dot_flops(computation, instruction, found.replace('"', ""))
    if instruction.opcode == "custom-call":
        return _estimate(instruction, "flops") or 0.0
    return 0.0


def _estimate(kernel: Instruction, what: str) -> float | None:
    """Return a number of the cost estimate that a Pallas kernel carries, None if it has none."""
    told = kernel.attribute(rf'"cost_estimate":\{{[^}}]*"{what}":"(\d+)"')
    return float(told) if told else None


def _passes(instruction: Instruction) -> int:
    precision = instruction.attribute(r"operand_precision=\{(\w+)") or "default"
    return _PRECISION_PASSES.get(precision, 1)


def _traffic(module: Module, computation: Computation, instruction: Instruction) -> float:
    """Return the bytes of one run. A slice counts as much as is read or written of the array it is of."""
    read = [_main_memory(_result(computation, name)) for name in instruction.operands]
    written = _main_memory(instruction.arrays)
    if instruction.opcode == "fusion":
        return _fusion_traffic(_fused(module, instruction), read, instruction.arrays)
    if instruction.opcode in _SLICES:
        return 2 * written
    if instruction.opcode == _UPDATE:
        return 2 * read[1]
    if instruction.opcode.endswith("-start"):
        return 2 * sum(read)
    if instruction.opcode == "custom-call" and (estimate := _estimate(instruction, "bytes_accessed")):
        return estimate
    return written + sum(read)


def _fusion_traffic(fused: Computation, read: list[float], arrays: tuple[Array, ...]) -> float:
    """Return the bytes of a fusion: less than all of an operand where the inside only slices it.

    Args:
      fused: the inside.
      read: bytes of every operand.
      arrays: the results.
    """
    users: dict[str, list[Instruction]] = {}
    for instruction in fused.instructions.values():
        for name in instruction.operands:
            users.setdefault(name, []).append(instruction)
    passed_on = _passed_on(fused, users)
    total = _main_memory(_written(fused, arrays, passed_on))
    for instruction in fused.instructions.values():
        if instruction.opcode != "parameter" or instruction.name in passed_on:
            continue
        whole = read[int(instruction.operands[0])]
        uses = users.get(instruction.name, [])
        if uses and all(use.opcode in _SLICES and use.operands[0] == instruction.name for use in uses):
            total += min(whole, sum(_num_bytes(use.arrays) for use in uses))
        elif uses and all(use.opcode == _UPDATE and use.operands[0] == instruction.name for use in uses):
            # The array is updated in place: neither read nor, as the result, written whole.
            updates = sum(_num_bytes(_result(fused, use.operands[1])) for use in uses)
            total += min(whole, updates) - max(0.0, whole - updates)
        else:
            total += whole
    return max(0.0, total)


def _passed_on(fused: Computation, users: Mapping[str, list[Instruction]]) -> set[str]:
    """Return what a fusion only passes on: arrays of a collective that another fusion starts, and itself."""
    parts = {each.name for each in fused.instructions.values() if fused.carries_on(each)}
    if not parts:
        return set()
    ends = parts | {fused.root.name}
    return parts | {
        each.name
        for each in fused.instructions.values()
        if each.opcode == "parameter" and {use.name for use in users.get(each.name, [])} <= ends
    }


def _written(fused: Computation, arrays: tuple[Array, ...], passed_on: set[str]) -> tuple[Array, ...]:
    """Return those of a fusion's results that it writes."""
    if fused.starts_collective:
        return arrays[1:2]  # of the operand, the result and flags
    if not passed_on:
        return arrays
    if fused.root.opcode != "tuple":
        return ()  # it waits for the collective's end
    return tuple(
        array for array, name in zip(arrays, fused.root.operands, strict=True) if name not in passed_on
    )


def _main_memory(arrays: tuple[Array, ...]) -> float:
    return sum(array.num_bytes for array in arrays if not array.memory_space)


def _num_bytes(arrays: tuple[Array, ...]) -> float:
    return sum(array.num_bytes for array in arrays)


def _result(computation: Computation, name: str) -> tuple[Array, ...]:
    instruction = computation.instructions.get(name)
    return instruction.arrays if instruction else ()


def _operand(computation: Computation, instruction: Instruction, number: int) -> Array:
    return computation.instructions[instruction.operands[number]].arrays[0]


def _dot_flops(computation: Computation, instruction: Instruction, contracted: str) -> float:
    """Return the FLOPs of a product, given the numbers of the first operand's dimensions that are summed."""
    lhs = _operand(computation, instruction, 0)
    depth = math.prod(lhs.dims[int(dim)] for dim in contracted.split(",") if dim)
    return 2.0 * math.prod(instruction.arrays[0].dims) * depth


def _convolution_flops(computation: Computation, instruction: Instruction) -> float:
    """Return the FLOPs as ``HloCostAnalysis::HandleConvolution`` counts them: valid positions only.

    The TPU compiler makes the batch dimensions of a product into windows that are mostly padding.
    """
    lhs, rhs = (_operand(computation, instruction, number) for number in range(2))
    labels = instruction.attribute(r"dim_labels=(\S+?)(?:,|$)") or ""
    lhs_labels, rhs_labels, out_labels = re.split(r"_|->", labels)
    window = _window(instruction, len([label for label in out_labels if label.isdecimal()]))
    positions = 1
    for dimension, (size, stride, low, lhs_dilation, rhs_dilation) in enumerate(window):
        label = str(dimension)
        positions *= _valid_positions(
            in_size=lhs.dims[lhs_labels.index(label)],
            out_size=instruction.arrays[0].dims[out_labels.index(label)],
            window=(size, stride, low, lhs_dilation, rhs_dilation),
        )
    batch_groups = int(instruction.attribute(r"batch_group_count=(\d+)") or 1)
    # The kernel's "i" is the input features of one feature group already.
    return (
        2.0
        * rhs.dims[rhs_labels.index("i")]
        * instruction.arrays[0].dims[out_labels.index("f")]
        * (lhs.dims[lhs_labels.index("b")] // batch_groups)
        * positions
    )


def _window(instruction: Instruction, num_dimensions: int) -> list[tuple[int, int, int, int, int]]:
    """Return (size, stride, low padding, base dilation, window dilation) of every spatial dimension."""
    text = instruction.attribute(r"window=\{([^}]*)\}") or ""
    given = dict(part.split("=") for part in text.split())

    def numbers(key: str, default: int) -> list[int]:
        if key not in given:
            return [default] * num_dimensions
        return [int(part.split("_")[0]) for part in given[key].split("x")]

    return list(
        zip(
            numbers("size", 1),
            numbers("stride", 1),
            numbers("pad", 0),
            numbers("lhs_dilate", 1),
            numbers("rhs_dilate", 1),
            strict=True,
        )
    )


def _valid_positions(*, in_size: int, out_size: int, window: tuple[int, int, int, int, int]) -> int:
    """Return how many (output, window) positions meet an element of the input, not padding or dilation.

    Output ``o`` and window position ``w`` meet place ``o * stride - low + w * window_dilation`` of the
    dilated input. For each ``w`` the outputs that hit an element form an arithmetic sequence, whose members
    are counted without listing them: windows and outputs are as many as the rows of a batch.
    """
    size, stride, low, base_dilation, window_dilation = window
    shift = low - np.arange(size) * window_dilation
    last_place = (in_size - 1) * base_dilation
    first = np.maximum(-(-shift // stride), 0)
    last = np.minimum((last_place + shift) // stride, out_size - 1)
    divisor = math.gcd(stride, base_dilation)
    period = base_dilation // divisor
    residue = (shift // divisor) % period * pow(stride // divisor, -1, period) % period
    first = first + (residue - first) % period
    hits = np.where(last >= first, (last - first) // period + 1, 0)
    return int(hits[shift % divisor == 0].sum())
