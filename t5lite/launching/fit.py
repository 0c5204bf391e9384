"""Does a run fit the accelerators that it is about to be started on: by prediction, or by the compiler."""

from collections.abc import Callable
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.partitioning import abstract_partitioner
from t5lite.partitioning.mesh import check_slices
from t5lite.planning.compiled.compile import check_step
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution
from t5lite.planning.predicted.remat import PLANNED
from t5lite.planning.report import table
from t5lite.run_config import RunConfig
from t5lite.runner.compilation import batch_shape, compile_run
from t5lite.runner.trained import trained_messages

_NOT_SURE = 0.1
"""By how much of its need the compiler was seen to deviate from a prediction (docs/planning.md)."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a training step needs of a device's memory."""

    needed: float
    """Bytes."""
    available: int
    fits: bool
    """Whether the run may start."""
    said: str
    """All in words, with what to do if it does not fit."""


def predicted(config: RunConfig, topology: Topology, *, announce: Callable[[str], None]) -> Fit:
    """Return what the planner predicts of a run, in about a second.

    Args:
      config: of the run.
      topology: that it is about to be started on.
      announce: is told what is trained if not all.

    Raises:
      ConfigError: if the mesh divides neither devices, model nor batch, or the planner knows no such run.
    """
    remat = config.execution.remat
    if remat not in PLANNED:
        raise ConfigError(
            f"execution.remat={remat!r} is not predicted (only {', '.join(PLANNED)}); ask the compiler by "
            "--fit compile, minutes, or leave it out by --fit skip"
        )
    partitioner = abstract_partitioner(config.partitioning, topology.num_devices)
    check_slices(dict(partitioner.mesh.shape), topology.num_slices)
    model, batch = config.functional_model(), batch_shape(config)
    optimizer = config.build_optimizer(model)
    for message in trained_messages(config.trained(model), model):
        announce(message)
    check_step(model, optimizer, partitioner, batch, config.step)
    execution = PlannedExecution(remat=remat, num_microbatches=config.step.num_microbatches)
    costs = CostModel(model, optimizer, topology, batch, vocab_chunks=config.step.vocab_chunks)
    memory = costs.on(partitioner).predict(execution).memory
    available = topology.chip.memory_bytes
    sizes = f"{table.size(memory.total)} of the {table.size(available)} of a device"
    if memory.total <= available * (1 - _NOT_SURE):
        said = f"predicted to fit {topology}: {sizes}"
    elif memory.total <= available:
        said = f"may just fit {topology}: {sizes} predicted, give or take a tenth; --fit compile asks"
    else:
        largest = sorted(memory.parts().items(), key=lambda part: -part[1])[:3]
        parts = ", ".join(f"{name.replace('_', ' ')} {table.size(size)}" for name, size in largest)
        said = (
            f"predicted not to fit {topology}: {sizes} ({parts}); take more chips, or what `t5lite plan` "
            "finds; --fit compile asks the compiler, --fit skip starts it all the same"
        )
    return Fit(needed=memory.total, available=available, fits=memory.total <= available, said=said)


def compiled(config: RunConfig, topology: Topology, *, announce: Callable[[str], None]) -> Fit:
    """Return what the accelerator's own compiler says, in minutes; see ``runner.compilation``."""
    compilation = compile_run(config, topology, announce=announce)
    memory = compilation.step.memory
    fits = compilation.step.fits
    sizes = f"{table.size(memory.needed)} of the {table.size(memory.available)} of a device"
    said = f"compiled for {topology}: {'fits' if fits else 'does not fit'}, {sizes}"
    if compilation.advice:
        said += f"; try {'; or '.join(compilation.advice)}"
    return Fit(needed=memory.needed, available=memory.available, fits=fits, said=said)
