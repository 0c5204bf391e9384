"""The best candidates of a search, compiled: what the compiler says of those that the cost model likes."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.models.config import Execution, ModelConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import Constant, Optimizer, OptimizerConfig
from t5lite.optim.trained import resolve_trained
from t5lite.partitioning import make_partitioner
from t5lite.planning.compiled.compile import BatchShape, CompiledStep, compile_step
from t5lite.planning.compiled.roofline import Roofline, roofline
from t5lite.planning.hardware.topology import Topology, compile_only_devices
from t5lite.planning.search.candidates import Candidate
from t5lite.training.step import StepConfig


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate and what became of it in the compiler."""

    candidate: Candidate
    compiled: CompiledStep | None
    """None where the compiler refused the program."""
    roofline: Roofline | None
    problem: str | None
    """Why it cannot run; None if it can."""

    @property
    def rank(self) -> tuple[bool, float]:
        """What finalists are sorted by: those that run first, by their roofline's time."""
        seconds = self.roofline.step_seconds if self.roofline is not None else float("inf")
        return self.problem is not None, seconds


def compile_candidates(
    candidates: Sequence[Candidate],
    config: ModelConfig,
    execution: Execution,
    optimizer: OptimizerConfig,
    topology: Topology,
    batch: BatchShape,
) -> Iterator[Finalist]:
    """Compile the candidates one after another for a topology that need not be here.

    Args:
      candidates: of a search over the same model, optimizer, topology and batch.
      config: of the model.
      execution: of it; its ``remat`` is replaced by each candidate's.
      optimizer: what it is trained with.
      topology: where.
      batch: shape of the global batch.

    Raises:
      ConfigError: if the compiler is not installed, or does not know the topology.
    """
    devices = compile_only_devices(topology)
    for candidate in candidates:
        model = build(config, dataclasses.replace(execution, remat=candidate.execution.remat))
        try:
            step = compile_step(
                model,
                planned_optimizer(optimizer, model, candidate.trainable),
                make_partitioner(candidate.partitioning, devices),
                topology,
                batch,
                StepConfig(num_microbatches=candidate.execution.num_microbatches),
            )
        except ConfigError as error:
            yield Finalist(candidate=candidate, compiled=None, roofline=None, problem=str(error))
            continue
        problem = None if step.fits else "does not fit in memory"
        yield Finalist(candidate=candidate, compiled=step, roofline=roofline(step), problem=problem)


def planned_optimizer(
    config: OptimizerConfig, model: FunctionalModel, trainable: tuple[str, ...] | None = None
) -> Optimizer:
    """Return the optimizer at a constant rate: neither memory nor time depends on the schedule.

    Args:
      config: of the optimizer.
      model: what is trained.
      trainable: patterns of what of it is trained; None is everything.

    Raises:
      ConfigError: as of ``resolve_trained``.
    """
    schedule = Constant().build(1)
    return resolve_trained(trainable, (), model.abstract_params).optimizer(
        lambda axes, factors: config.build(schedule, axes, factors), model.logical_axes
    )
