"""FLOPs of one device, counted in a compiled module with every loop's trips; and the time of it all.

They are those of matrix products (a multiply-add is two), which a TPU's compiler writes as convolutions,
counted as XLA's ``HloCostAnalysis`` counts them (JAX has it for whole modules only), and those that a kernel
says it has.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from t5lite.planning.compiled.hlo import Array, Computation, Instruction, Module
from t5lite.planning.compiled.sources import origin, source_line
from t5lite.planning.compiled.traffic import Traffic

MATRIX_UNIT = "matrix unit"
MAIN_MEMORY = "main memory"
"""What instructions keep busy; further resources are those of ``links.route``."""
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


class Costs:
    """Seconds that the instructions of a module take at the speeds of a data sheet, collectives left out."""

    def __init__(self, module: Module, *, flops_per_second: float, memory_bandwidth: float) -> None:
        """Take the module whose instructions are asked for, and the speeds, FLOPs and bytes a second."""
        self._module = module
        self._traffic = Traffic(module)
        self._flops_per_second, self._memory_bandwidth = flops_per_second, memory_bandwidth

    def seconds(self, computation: Computation, instruction: Instruction) -> tuple[float, float]:
        """Return the seconds of matrix unit and main memory in one run; none of what is in a fusion."""
        if computation.is_fused:
            return 0.0, 0.0
        flops = _flops(computation, instruction) * _passes(instruction)
        if instruction.opcode == "fusion":
            flops = _inner_flops(self._module, instruction)
        moved = self._traffic.num_bytes(computation, instruction)
        return flops / self._flops_per_second, moved / self._memory_bandwidth


def serial_seconds(module: Module, costs: Costs) -> float:
    """Return how long the instructions take one after another, each bound by its products or its traffic.

    Collectives are left out. Copies that the compiler starts ahead of time are taken as if they were not.
    """
    return sum(
        computation.runs * max(costs.seconds(computation, instruction))
        for computation, instruction in module.walk()
    )


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
        return instruction.estimate("flops") or 0.0
    return 0.0


def _passes(instruction: Instruction) -> int:
    precision = instruction.attribute(r"operand_precision=\{(\w+)") or "default"
    return _PRECISION_PASSES.get(precision, 1)


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
