"""The training step, compiled for hardware that is not there: does it fit, and what does it do."""

import re
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.partitioning import Partitioner
from t5lite.partitioning.compiler_options import Options, as_compiler_options, unnamed
from t5lite.planning.compiled import hlo, hlo_costs
from t5lite.planning.compiled.buffers import Buffer, Kind, Occupancy, occupancy
from t5lite.planning.compiled.collectives import Collective, located, most_bytes_first
from t5lite.planning.compiled.network import Network
from t5lite.planning.compiled.timeline import Timeline, timeline
from t5lite.planning.compiled.traffic import Transfer, transfers
from t5lite.planning.hardware import gpu
from t5lite.planning.hardware.topology import Topology, coordinates
from t5lite.training.state import abstract_state
from t5lite.training.step import (
    StepConfig,
    check_batch_size,
    check_param_dtype,
    compile_train_step,
    make_train_step,
)
from t5lite.training.step_flops import step_flops

_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)
_UNREADABLE_CACHE = "Error reading persistent compilation cache entry"
"""An executable for devices that are not there can be written to the cache, not read from it."""


@dataclass(frozen=True, kw_only=True)
class BatchShape(BatchSpec):
    """The global batch: what its rows are, and how many."""

    batch_size: int
    fields: frozenset[str] = frozenset()
    """Keys of ``BATCH_FIELDS``; none stand for what trains the model, of rows that are full."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of main memory of one device, at the fullest moment of a step."""

    parameters: int
    optimizer: int
    batch: int
    activations: int
    """What the forward pass made: kept for the backward pass, or in work."""
    temporaries: int
    """Gradients, and what the backward pass, the optimizer and collectives have in work."""
    gaps: int
    """Set aside beyond the peak, for buffers that live at different times and do not fit together."""
    available: int
    """What a program can use of the device's memory."""

    @property
    def peak(self) -> int:
        """What is occupied at the fullest moment (XLA's ``peak_memory_in_bytes``)."""
        return self.parameters + self.optimizer + self.batch + self.activations + self.temporaries

    @property
    def needed(self) -> int:
        """What the program asks for."""
        return self.peak + self.gaps


@dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """What the compiler made of a training step, for one device of the mesh."""

    topology: Topology
    mesh: dict[str, int]
    places: tuple[tuple[int, ...], ...]
    """Slice and place in the torus of every device, in the mesh's order."""
    refusal: str | None
    """What the compiler says where it gave up for want of memory, of the device's or of a kind on the chip;
    everything else is then of the program that it tried. None if it made a program."""
    memory: Memory
    buffers: tuple[Buffer, ...]
    """What is in memory at the peak, largest first."""
    products: tuple[hlo_costs.Product, ...]
    """Matrix products."""
    model_flops: float
    """By the analytic count, without recomputation: the numerator of MFU."""
    transfers: tuple[Transfer, ...]
    """What is read from and written to main memory."""
    serial_seconds: float
    """Of matrix products and memory traffic, one instruction after another at the data sheet's speeds."""
    collectives: tuple[Collective, ...]
    timeline: Timeline
    """Of all of these, in the order of the compiler's schedule."""
    compiler_options: Options
    """What the compiler was asked for, by platform, by the configuration, and for want of a GPU."""
    compile_seconds: float

    @property
    def fits(self) -> bool:
        """Whether there is a program, and it needs no more memory than there is."""
        return self.refusal is None and self.memory.needed <= self.memory.available

    @property
    def network(self) -> Network:
        """What its collectives run on."""
        return Network(self.topology, self.places)

    @property
    def flops(self) -> float:
        """Of all matrix products, with what remat recomputes."""
        return sum(product.flops for product in self.products)

    @property
    def memory_traffic(self) -> float:
        """Bytes that are read from and written to main memory in a step."""
        return sum(transfer.num_bytes for transfer in self.transfers)

    @property
    def matrix_unit_flops(self) -> float:
        """The same, float32 products at high precision counted as often as the unit does them."""
        return sum(product.flops * product.passes for product in self.products)


def compile_step(
    model: FunctionalModel,
    optimizer: Optimizer,
    partitioner: Partitioner,
    topology: Topology,
    batch: BatchShape,
    step: StepConfig,
    *,
    seed: int = 0,
) -> CompiledStep:
    """Compile the training step for the partitioner's devices, which come from ``compile_only_devices``.

    A step that does not fit is an answer too: see ``CompiledStep.fits``.

    Args:
      model: what is trained.
      optimizer: with its state.
      partitioner: over a mesh of the topology's devices.
      topology: that the devices are of.
      batch: shape of the global batch.
      step: microbatches, loss, clipping.
      seed: of dropout; part of the program, and of what the compilation cache knows it by.

    Raises:
      ConfigError: if the mesh does not divide the model or the batch, or the compiler refuses the program for
        another reason than its memory.
    """
    check_step(model, optimizer, partitioner, batch, step)
    state = abstract_state(model, optimizer, partitioner)
    fields = abstract_batch(model.config, batch, partitioner)
    train_step = make_train_step(model, optimizer, step, seed=seed)
    start = time.perf_counter()
    lowered = compile_train_step(train_step, model, optimizer, partitioner).lower(state, fields)
    without_chip = _options_without_chip(topology.chip.platform, partitioner.compiler_options)
    with tempfile.TemporaryDirectory(prefix="t5lite-compile-") as notes:
        _, refusal = compile_with_notes(lowered, Path(notes), target=str(topology), options=without_chip)
        seconds = time.perf_counter() - start
        module = hlo.parse(_text(Path(notes)))
        occupied = occupancy(module, Path(notes))
    chip = topology.chip
    memory = _memory(occupied, chip.memory_bytes)
    flops = step_flops(model, optimizer, **batch.read(batch.batch_size))
    mesh = partitioner.mesh
    devices = mesh.devices.reshape(-1).tolist() if isinstance(mesh, Mesh) else []
    places = coordinates(devices)
    costs = hlo_costs.Costs(
        module, flops_per_second=chip.flops_per_second, memory_bandwidth=chip.memory_bandwidth
    )
    exchanged = tuple(located(module, mesh.shape, num_slices=topology.num_slices))
    return CompiledStep(
        topology=topology,
        mesh=dict(mesh.shape),
        places=places,
        refusal=refusal,
        memory=memory,
        buffers=occupied.buffers,
        products=tuple(hlo_costs.products(module)),
        model_flops=flops / topology.num_devices,
        transfers=tuple(transfers(module)),
        serial_seconds=hlo_costs.serial_seconds(module, costs),
        collectives=most_bytes_first(each for *_, each in exchanged),
        timeline=timeline(module, costs, exchanged, Network(topology, places)),
        compiler_options=partitioner.compiler_options + without_chip,
        compile_seconds=seconds,
    )


def check_step(
    model: FunctionalModel,
    optimizer: Optimizer,
    partitioner: Partitioner,
    batch: BatchShape,
    step: StepConfig,
) -> None:
    """Check that the mesh divides the heads and the batch.

    Raises:
      ConfigError: naming what does not divide, and what would.
    """
    partitioner.check(batch.batch_size, model.config.head_counts)
    check_batch_size(batch.batch_size, step.num_microbatches, partitioner)
    check_param_dtype(model, optimizer)


def abstract_batch(
    config: ModelConfig, batch: BatchShape, partitioner: Partitioner
) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the fields (``core.types``) that train a model, as shapes.

    Raises:
      ConfigError: for a head that predicts nothing.
    """
    spec = batch if batch.fields else config.batch_spec(batch.lengths)
    sharding = partitioner.batch_sharding
    return {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
        for name, (shape, dtype) in spec.shapes(batch.batch_size).items()
    }


def compile_with_notes(
    lowered: Any, notes: Path, *, target: str, options: Options = ()
) -> tuple[Any, str | None]:
    """Compile a lowered program, leave the compiler's notes in a directory, and return the program.

    If it does not fit into memory there is none, and the second is what the compiler says of it; the
    notes are there nevertheless.

    Args:
      lowered: ``jax.stages.Lowered`` for devices of ``compile_only_devices``.
      notes: an empty directory.
      target: what to call those devices in a message.
      options: of the compiler, in place of those of the same name that the program was lowered with.

    Raises:
      ConfigError: if the compiler refuses the program for another reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_UNREADABLE_CACHE)
            asked = {"xla_dump_to": str(notes), **(as_compiler_options(options) or {})}
            return lowered.compile(asked), None
    except jax.errors.JaxRuntimeError as error:
        said = " ".join(str(error).split())[:300]
        if _OUT_OF_MEMORY.search(said) and _modules(notes):
            return None, said
        raise ConfigError(f"the compiler for {target} refuses the program: {said}") from error


def _options_without_chip(platform: str, asked: Options) -> Options:
    """Return what is asked of the compiler because no chip is here, but for what is asked for anyway."""
    return unnamed(gpu.COMPILER_OPTIONS, asked) if platform == "gpu" else ()


def _modules(notes: Path) -> list[Path]:
    return list(notes.glob("*after_optimizations.txt"))


def _text(notes: Path) -> str:
    """Return the optimised module; the compiler may have tried several times."""
    return max(_modules(notes), key=lambda path: path.stat().st_mtime_ns).read_text(encoding="utf-8")


def _memory(occupied: Occupancy, available: int) -> Memory:
    sizes: Counter[Kind] = Counter()
    for buffer in occupied.buffers:
        sizes[buffer.kind] += buffer.num_bytes
    return Memory(
        parameters=sizes["parameters"],
        optimizer=sizes["optimizer"],
        batch=sizes["batch"],
        activations=sizes["activations"],
        temporaries=sizes["temporaries"],
        gaps=occupied.gaps,
        available=available,
    )
