"""Slices by the names that Google Cloud sells them under: a chip and a number, such as ``v5e-256``.

The number counts chips where a chip has one core (v5e, v6e) and cores where it has two (v2, v3, v4, v5p,
tpu7x): v5p-128 is 64 chips. The arrangement is Cloud's usual one, as square as the number allows; another is
named outright, as ``v5p:4x4x8``. GPUs are counted: ``h100-64`` is eight nodes of eight.
"""

import math
import re
from collections.abc import Iterator

from t5lite.core.errors import ConfigError, suggestion
from t5lite.planning.hardware.chips import CHIPS, CUBE, Chip
from t5lite.planning.hardware.topology import Topology, parse_topology

CLOUD_NAMES = {"v5e": "v5litepod"}
"""What Cloud's API calls a chip, where that is another name."""
_OTHER_NAMES = {cloud: chip for chip, cloud in CLOUD_NAMES.items()}
_GPUS_PER_NODE = 8


def parse_chips(name: str, *, num_slices: int = 1) -> Topology:
    """Return the topology of an accelerator type such as ``v5e-256``, or of a topology's name.

    Raises:
      ConfigError: for an unknown chip, or a number of chips that no slice has.
    """
    if ":" in name:
        return parse_topology(name, num_slices=num_slices)
    found = re.fullmatch(r"([a-z]+\d*[a-z]*)-([1-9]\d{0,5})", name)
    if found is None:
        raise ConfigError(
            f"chips {name!r} must be a chip and a number such as v5e-256, or an arrangement such as "
            f"v5p:4x4x8; known chips: {', '.join(sorted(CHIPS))}"
        )
    chip_name = _OTHER_NAMES.get(found[1], found[1])
    if chip_name not in CHIPS:
        raise ConfigError(f"chips {name!r} names no known chip{suggestion(chip_name, CHIPS)}")
    number, cores = int(found[2]), CHIPS[chip_name].cores_per_chip
    shape = _arrangement(number // cores, CHIPS[chip_name]) if number % cores == 0 else None
    if shape is None:
        raise ConfigError(_no_such_slice(name, chip_name, number, cores))
    return parse_topology(f"{chip_name}:{'x'.join(map(str, shape))}", num_slices=num_slices)


def accelerator_type(topology: Topology) -> str:
    """Return the name of a chip and number that one slice of the topology has: ``v5p-128`` of v5p:4x4x4."""
    return f"{topology.chip_name}-{math.prod(topology.shape) * topology.chip.cores_per_chip}"


def described(topology: Topology) -> str:
    """Return a slice in words: ``v5p:4x4x4, 64 chips (Cloud's v5p-128)``."""
    chips = math.prod(topology.shape)
    text = f"{topology}, {chips} chip{'s' * (chips > 1)}"
    if topology.num_slices > 1:
        text += " each"
    counts_cores = topology.chip.cores_per_chip > 1
    return f"{text} (Cloud's {accelerator_type(topology)} counts cores)" if counts_cores else text


def _arrangement(num_chips: int, chip: Chip) -> tuple[int, ...] | None:
    """Return the sides of the squarest slice of so many chips, the shortest first; None if there is none.

    GPUs come in nodes of eight, or as a part of one.
    """
    if chip.platform == "gpu":
        whole = num_chips % _GPUS_PER_NODE == 0
        return (num_chips // _GPUS_PER_NODE, _GPUS_PER_NODE) if whole else _part_of_a_node(num_chips)
    if chip.torus_dims == 2:
        short = math.isqrt(num_chips) if num_chips.bit_count() == 1 else 0
        short = 1 << (short.bit_length() - 1) if short else 0
        return (short, num_chips // short) if short else None
    return min(_boxes(num_chips), key=lambda shape: (shape[-1], -shape[0]), default=None)


def _part_of_a_node(num_gpus: int) -> tuple[int, ...] | None:
    return (1, num_gpus) if num_gpus < _GPUS_PER_NODE else None


def _boxes(num_chips: int) -> Iterator[tuple[int, ...]]:
    """Yield the sides in rising order: multiples of 4, or within one cube 2x2x1, 2x2x2, 2x2x4 and 2x4x4."""
    small = {1: (1, 1, 1), 4: (2, 2, 1), 8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4)}
    if num_chips in small:
        yield small[num_chips]
    if num_chips % CUBE**3:
        return
    for first in range(CUBE, num_chips + 1, CUBE):
        if first**3 > num_chips:
            return
        rest, remainder = divmod(num_chips, first)
        for second in range(first, math.isqrt(rest) + 1, CUBE):
            if not remainder and rest % second == 0 and rest // second % CUBE == 0:
                yield first, second, rest // second


def _no_such_slice(name: str, chip_name: str, number: int, cores: int) -> str:
    chip = CHIPS[chip_name]
    sizes = [n for n in range(1, 4 * number + 1) if n % cores == 0 and _arrangement(n // cores, chip)]
    below = max((n for n in sizes if n < number), default=None)
    above = min((n for n in sizes if n > number), default=None)
    near = " or ".join(f"{chip_name}-{n}" for n in (below, above) if n is not None)
    counts = ", which counts two cores a chip" if cores == 2 else ""
    example = "x".join(["4"] * chip.torus_dims)
    return (
        f"chips {name!r}{counts}: no slice has that number; use {near}, or name an arrangement, such as "
        f"{chip_name}:{example}"
    )
