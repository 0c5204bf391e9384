"""Small programs compiled for a TPU that is not there, and what the compiler made of them."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5lite.planning.compiled import hlo
from t5lite.planning.compiled.buffers import Occupancy, occupancy
from t5lite.planning.compiled.compile import compile_with_notes
from t5lite.planning.compiled.hlo import Module
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology


class Program(NamedTuple):
    """A compiled program."""

    module: Module
    occupancy: Occupancy
    peak_bytes: int
    """As XLA itself reports it."""
    text: str
    cost: Mapping[str, float]
    """XLA's own analysis."""


def mesh(axes: Mapping[str, int], topology: str = "v5e:2x2", num_slices: int = 1) -> Mesh:
    devices = compile_only_devices(parse_topology(topology, num_slices=num_slices))
    return Mesh(np.array(devices).reshape(tuple(axes.values())), tuple(axes))


def array(mesh: Mesh, shape: tuple[int, ...], *spec: str | None, dtype: Any = "bfloat16"):
    """The shape of an argument that is sharded over the mesh."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*spec)))


def compiled(function: Callable[..., Any], *arguments: Any) -> Program:
    with tempfile.TemporaryDirectory() as notes:
        program, _ = compile_with_notes(jax.jit(function).lower(*arguments), Path(notes), target="a test")
        text = program.as_text()
        module = hlo.parse(text)
        return Program(
            module=module,
            occupancy=occupancy(module, Path(notes)),
            peak_bytes=program.memory_analysis().peak_memory_in_bytes,
            text=text,
            cost=program.cost_analysis(),
        )
