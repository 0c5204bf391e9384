"""Compile a run's training step for hardware that is not there; no data, vocabulary or device is needed."""

from collections.abc import Callable
from dataclasses import dataclass

from t5lite.partitioning import make_partitioner
from t5lite.partitioning.unsplit import unsplit_messages
from t5lite.planning.compiled.compile import BatchShape, CompiledStep, check_step, compile_step
from t5lite.planning.hardware.topology import Topology, compile_only_devices
from t5lite.planning.report.advice import advice
from t5lite.run_config import RunConfig
from t5lite.runner.trained import trained_messages
from t5lite.training.state import abstract_state, state_axes


@dataclass(frozen=True)
class Compilation:
    """A run's training step, compiled, and what to change if it does not fit."""

    step: CompiledStep
    num_params: int
    batch: BatchShape
    advice: tuple[str, ...]


def compile_run(
    config: RunConfig, topology: Topology, *, announce: Callable[[str], None] = lambda text: None
) -> Compilation:
    """Compile the step that ``runner.training.train`` would run on the topology.

    Args:
      config: of the run.
      topology: to compile for.
      announce: is told when everything is checked and the compiler starts, what is trained if not all,
        and what the mesh does not split.

    Raises:
      ConfigError: if the topology is unknown to the compiler, or the configuration does not fit it (its mesh
        the devices, the model or the batch).
    """
    devices = compile_only_devices(topology)
    partitioner = make_partitioner(config.partitioning, devices)
    model = config.functional_model()
    optimizer = config.build_optimizer(model)
    batch = batch_shape(config)
    check_step(model, optimizer, partitioner, batch, config.step)
    announce(f"{model.num_params:,} parameters for {topology}; a large model compiles for minutes")
    unsplit = unsplit_messages(partitioner, abstract_state(model, optimizer), state_axes(model, optimizer))
    for message in [*trained_messages(config.trained(model), model), *unsplit]:
        announce(message)
    step = compile_step(model, optimizer, partitioner, topology, batch, config.step, seed=config.seed)
    remedies = advice(step, config.execution, config.step, style=config.partitioning.style)
    return Compilation(step, model.num_params, batch, tuple(remedies))


def batch_shape(config: RunConfig) -> BatchShape:
    """Return the shape of the run's batches, which follows from its configuration alone."""
    spec = config.data.batch_spec(config.model.architecture)
    return BatchShape(batch_size=config.training.batch_size, **vars(spec))
