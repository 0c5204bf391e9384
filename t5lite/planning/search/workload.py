"""What a plan is made for."""

from dataclasses import dataclass, field, replace

from t5lite.adapters import Adapter, NoAdapter
from t5lite.models.config import Execution, ModelConfig, Remat
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import Constant, Optimizer, OptimizerConfig
from t5lite.optim.averaging import with_average
from t5lite.optim.trained import resolve_trained
from t5lite.partitioning import PartitioningConfig
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.predicted.cost_model import CostModel
from t5lite.planning.predicted.remat import remat_names
from t5lite.training.config import StepConfig


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model, how it is trained, and on what: all that the ways to run a step have in common."""

    config: ModelConfig
    optimizer: OptimizerConfig
    batch: BatchShape
    topology: Topology
    trainable: tuple[str, ...] | None = None
    """Patterns of what is trained; None is everything."""
    adapter: Adapter = field(default_factory=NoAdapter)
    """What is trained beside the model."""
    ema_decay: float | None = None
    """Of the average that is kept of what is trained; None keeps none."""
    execution: Execution = field(default_factory=Execution)
    """Its ``remat`` is each way's own."""
    step: StepConfig = field(default_factory=StepConfig)
    """Its ``num_microbatches`` are each way's own."""
    partitioning: PartitioningConfig = field(default_factory=PartitioningConfig)
    """Its mesh and style are each way's own; rules and compiler options are kept."""

    def executed(self, remat: Remat) -> Execution:
        """Return the execution under a planned remat policy."""
        return replace(self.execution, remat=remat, remat_names=remat_names(remat))

    def model(self, remat: Remat = "none") -> FunctionalModel:
        """Return the model under a remat policy."""
        return self.adapter.adapt(build(self.config, self.executed(remat)))

    @property
    def trained_patterns(self) -> tuple[str, ...] | None:
        """Patterns of what is trained, those of the adapter's own parameters among them."""
        return self.adapter.trained(self.trainable)

    def costs(self) -> CostModel:
        """Return what predicts the ways.

        Raises:
          ConfigError: as of ``resolve_trained``.
        """
        model = self.model()
        optimizer, chunks = self.built_optimizer(model), self.step.vocab_chunks
        return CostModel(model, optimizer, self.topology, self.batch, vocab_chunks=chunks)

    def built_optimizer(self, model: FunctionalModel) -> Optimizer:
        """Return the optimizer of ``model``; errors as of ``resolve_trained``."""
        optimizer = planned_optimizer(self.optimizer, model, self.trained_patterns)
        if self.ema_decay is None:
            return optimizer
        return with_average(optimizer, self.ema_decay, optimizer.trained(model.logical_axes))


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
