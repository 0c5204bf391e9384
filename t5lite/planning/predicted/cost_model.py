"""What a train step takes of a device, predicted from shapes alone: memory, and time by resource.

Nothing is traced or compiled for a prediction, so that thousands of them take a second. The time is an
optimistic estimate:

- The matrix unit runs at the data sheet's peak, on the model's FLOPs and what ``remat`` recomputes.
- Collectives along ``tensor`` and ``sequence`` are waited for: the next product reads their result.
- Everything else overlaps fully with that: main memory, the gathers of parameters and the sums of gradients
  along ``fsdp`` and ``replica``, the network between slices.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t5lite.models.config import Remat
from t5lite.models.flops import stack_flops, stack_lengths
from t5lite.models.functional import FunctionalModel
from t5lite.optim import Optimizer
from t5lite.partitioning import Partitioner
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.links import between_slices, ring_share
from t5lite.planning.hardware.mesh_layout import axis_bandwidths
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.predicted import memory_model, memory_traffic
from t5lite.planning.predicted.activation_traffic import Placement, activation_exchange
from t5lite.planning.predicted.layer_shapes import (
    FusedAttention,
    LayerShape,
    activation_shards,
    fused_attention,
    kinds_of_layers,
    layer_shapes,
)
from t5lite.planning.predicted.logits_shape import LogitsShape, logits_shape
from t5lite.planning.predicted.memory_model import MemoryEstimate
from t5lite.planning.predicted.remat import KEEPS_KERNELS, PLANNED, recomputed_flops
from t5lite.planning.predicted.state_shards import StateShapes
from t5lite.training.gradients import StepGradients, step_gradients
from t5lite.training.step import check_batch_size
from t5lite.training.step_flops import step_flops

_WAITED_FOR = ("tensor", "sequence")
"""Mesh axes whose collectives stand between one product and the next."""
_NOT_OVERLAPPED = 0.1
_OUT = "_attention/out"
"""How paths of attention's output kernels end."""


@dataclass(frozen=True, kw_only=True)
class PlannedExecution:
    """How a step is run, besides the mesh."""

    remat: Remat = "none"
    num_microbatches: int = 1
    fused_attention: bool | None = None
    """Whether kernels compute all attention; None where the model would choose them."""


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """Seconds of one step."""

    matrix_unit: float
    main_memory: float
    links: Mapping[str, float]
    """Between the devices of a slice, by mesh axis."""
    network: float
    """Between slices."""

    @property
    def resources(self) -> dict[str, float]:
        """The seconds by name."""
        links = {f"links {axis}": seconds for axis, seconds in self.links.items()}
        named = {"matrix unit": self.matrix_unit, "main memory": self.main_memory, **links}
        return {**named, "network": self.network}

    @property
    def step(self) -> float:
        """Of the whole step, overlapped as the module says."""
        waited_for = sum(self.links.get(axis, 0.0) for axis in _WAITED_FOR)
        return max(self.matrix_unit + waited_for, *self.resources.values())

    @property
    def ranking(self) -> float:
        """What candidates are compared by: the step, if a tenth of what is taken to overlap did not.

        It tells apart what the same resource limits.
        """
        busy = sum(self.resources.values())
        return self.step + _NOT_OVERLAPPED * (busy - self.step)

    @property
    def limiting(self) -> str:
        """The resource that takes longest."""
        return max(self.resources.items(), key=lambda each: each[1])[0]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a step takes on each device."""

    memory: MemoryEstimate
    time: TimeEstimate
    flops: float
    """With what remat recomputes, and the logits that are made again in chunks."""
    model_flops: float
    """Without: the numerator of MFU."""
    mfu: float
    """Model FLOPs utilisation that the predicted time means."""


class CostModel:
    """Predictions for one model, optimizer and batch on one topology.

    Args:
      model: with its compute dtype; the ``remat`` of its execution is not read, see ``PlannedExecution``.
      optimizer: its state is traced once; says what is trained.
      topology: what the mesh is laid on.
      batch: shape of the global batch.
      vocab_chunks: of the step's configuration; by default by the logits' size.

    Attributes:
      read: that shape as stacks read it: texts that are encoded apart are rows.
    """

    def __init__(
        self,
        model: FunctionalModel,
        optimizer: Optimizer,
        topology: Topology,
        batch: BatchShape,
        *,
        vocab_chunks: int | None = None,
    ):
        self.model, self.topology, self.batch = model, topology, batch
        self.vocab_chunks = vocab_chunks
        self.gradients = step_gradients(model, optimizer)
        self.state = StateShapes(model, optimizer, self.gradients)
        flops = step_flops(model, optimizer, **batch.read(batch.batch_size))
        self.read = BatchShape(fields=frozenset(), **batch.read(batch.batch_size))
        again = remade_flops(model, self.gradients, self.read)
        self.flops = {remat: flops + again[remat] for remat in PLANNED}

    def on(self, partitioner: Partitioner) -> "MeshCosts":
        """Return the predictions for one mesh, which may be abstract.

        Raises:
          ConfigError: if the mesh does not divide the heads or the batch.
        """
        partitioner.check(self.batch.batch_size, self.model.config.head_counts)
        return MeshCosts(self, partitioner)


class MeshCosts:
    """Predictions for one mesh; see ``CostModel.on``."""

    def __init__(self, costs: CostModel, partitioner: Partitioner):
        self._costs, self._partitioner = costs, partitioner
        self._config, self._batch = costs.model.config, costs.read
        self._shards = activation_shards(self._config, partitioner)
        self._state = costs.state.shards(partitioner)
        self._fused = fused_attention(
            self._config, costs.model.execution, self._batch, costs.topology.chip.platform, partitioner
        )
        self._placement = Placement.of(partitioner)
        self._bandwidths = axis_bandwidths(costs.topology, partitioner.mesh.shape)

    def predict(self, execution: PlannedExecution) -> Prediction:
        """Return what a step takes that is run in this way.

        Raises:
          ConfigError: if the batch cannot be split into that many microbatches.
        """
        check_batch_size(self._costs.batch.batch_size, execution.num_microbatches, self._partitioner)
        topology = self._costs.topology
        rows = self._batch.batch_size / self._shards.rows / execution.num_microbatches
        fused = self._fused
        if execution.fused_attention is not None:
            fused = [FusedAttention(execution.fused_attention, execution.fused_attention) for _ in fused]
        layers = layer_shapes(
            self._costs.model, self._costs.gradients, self._shards, self._batch, rows=rows, fused=fused
        )
        flops = self._costs.flops[execution.remat] + kernel_flops(
            self._costs.model, self._costs.gradients, self._batch, fused
        )
        logits = self._logits(rows)
        remade = 0.0 if logits is None else execution.num_microbatches * logits.remade_flops
        flops = flops / topology.num_devices + remade
        model_flops = self._costs.flops["none"] / topology.num_devices
        links, network = self._exchange_seconds(layers, execution)
        memory = self._memory(layers, logits, execution)
        traffic = self._memory_traffic(layers, logits, execution, saved=memory.saved_activations)
        time = TimeEstimate(
            matrix_unit=flops / topology.chip.flops_per_second,
            main_memory=traffic / topology.chip.memory_bandwidth,
            links=links,
            network=network,
        )
        return Prediction(
            memory=memory,
            time=time,
            flops=flops,
            model_flops=model_flops,
            mfu=model_flops / topology.chip.flops_per_second / time.step,
        )

    def _memory(
        self, layers: list[LayerShape], logits: LogitsShape | None, execution: PlannedExecution
    ) -> MemoryEstimate:
        sums = self._state.gradients if execution.num_microbatches > 1 else 0.0
        return MemoryEstimate(
            parameters=self._state.parameters,
            optimizer=self._state.optimizer,
            gradients=self._state.gradients + sums,
            saved_activations=memory_model.saved_activations(layers, execution.remat),
            saved_kernels=self._state.kernels_to_keep * (execution.remat in KEEPS_KERNELS),
            working=memory_model.working_activations(layers)
            + memory_model.working_kernels(self._state.largest_layer),
            logits=memory_model.logits_memory(logits),
        )

    def _memory_traffic(
        self,
        layers: list[LayerShape],
        logits: LogitsShape | None,
        execution: PlannedExecution,
        *,
        saved: float,
    ) -> float:
        """Return the bytes of a step."""
        spilled = memory_traffic.spills(self._costs.topology.chip)
        microbatch = (
            memory_traffic.kernel_traffic(self._state, execution.remat)
            + memory_traffic.activation_traffic(layers, execution.remat, spilled, saved=saved)
            + memory_traffic.logits_traffic(logits, spilled)
        )
        return memory_traffic.state_traffic(self._state) + execution.num_microbatches * microbatch

    def _logits(self, rows: float) -> LogitsShape | None:
        """Return the logits of one microbatch on a device."""
        return logits_shape(
            self._config,
            self._shards,
            self._batch,
            rows=rows,
            vocab_chunks=self._costs.vocab_chunks,
            platform=self._costs.topology.chip.platform,
        )

    def _exchange_seconds(
        self, layers: list[LayerShape], execution: PlannedExecution
    ) -> tuple[dict[str, float], float]:
        """Return the seconds of a step's collectives by mesh axis, and of those between slices."""
        topology = self._costs.topology
        sent = defaultdict(float, activation_exchange(layers, self._placement, execution.remat))
        keeps = execution.remat in KEEPS_KERNELS
        again = self._state.gathered_again_outside if keeps else self._state.gathered_again
        for number_of in (self._state.gathered, again):
            for axis, number in number_of.items():
                sent[axis] += number
        for axis, number in self._state.reduced.items():
            sent[axis] += number
        network = 0.0
        if topology.num_slices > 1:
            across, sent["replica"] = _split_replica(
                sent["replica"], self._partitioner.mesh.shape["replica"], topology.num_slices
            )
            network = execution.num_microbatches * across / between_slices(topology).bandwidth
        seconds = {
            axis: execution.num_microbatches * sent[axis] / bandwidth
            for axis, bandwidth in self._bandwidths.items()
        }
        return seconds, network


def remade_flops(model: FunctionalModel, gradients: StepGradients, batch: BatchShape) -> dict[Remat, float]:
    """Return the FLOPs on all devices together that remat makes again, by policy."""
    flops = dict.fromkeys(PLANNED, 0.0)
    for each in stack_lengths(model.config, batch.encoder_length, batch.decoder_length):
        side = each.stack.side
        if gradients.stacks[side].through:
            trains_out = any(path.startswith(f"{side}/") for path in gradients.trained if path.endswith(_OUT))
            for remat in PLANNED:
                remade = recomputed_flops(
                    stack_flops(each), remat, layer=each.stack.cycle[0], trains_attention_out=trains_out
                )
                flops[remat] += batch.batch_size * remade
    return flops


def kernel_flops(
    model: FunctionalModel, gradients: StepGradients, batch: BatchShape, fused: Sequence[FusedAttention]
) -> float:
    """Return the FLOPs that attention kernels add: their backward pass makes the logits again."""
    total = 0.0
    for kind, kernels in zip(kinds_of_layers(model.config, batch), fused, strict=True):
        own = kind.layer.attention
        seen = kernels.own * own.num_visible(kind.length) + kernels.cross * (kind.memory_length or 0)
        through = gradients.stacks[kind.stack.side].through
        total += through * kind.number * 2 * kind.length * seen * own.width
    return batch.batch_size * total


def _split_replica(sent: float, size: int, num_slices: int) -> tuple[float, float]:
    """Split what an all-reduce sends into the bytes between slices and those within one.

    Within a slice the array is scattered first, so that a part of it crosses from each device.
    """
    summed = sent / ring_share(size)  # the array, there and back
    within = size // num_slices
    return summed / within * ring_share(num_slices), summed * ring_share(within)
