"""The training steps that tests compile: one small encoder-decoder under four ways to divide it."""

import functools
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

from t5lite.models.config import EncoderDecoderConfig, Execution, ModelConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import AdamWConfig, WarmupCosine
from t5lite.optim.trained import resolve_trained
from t5lite.partitioning import Partitioner, PartitioningConfig, abstract_partitioner, make_partitioner
from t5lite.planning.compiled import hlo
from t5lite.planning.compiled.compile import BatchShape, CompiledStep, compile_step
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology
from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution, Prediction
from t5lite.planning.search.workload import planned_optimizer
from t5lite.training.config import StepConfig

TOPOLOGY = "v5e:2x2"
MODEL = EncoderDecoderConfig(
    vocab_size=4096,
    embed_dim=256,
    mlp_dim=512,
    head_dim=64,
    num_heads=4,
    num_encoder_layers=3,
    num_decoder_layers=2,
)
EXECUTION = Execution(compute_dtype="bfloat16")
BATCH = BatchShape(batch_size=16, encoder_length=384, decoder_length=128)
CLIPPED = StepConfig(max_gradient_norm=1.0)

WAYS: dict[str, tuple[PartitioningConfig, EncoderDecoderConfig, Execution]] = {
    "data_parallel": (PartitioningConfig(style="data_parallel"), MODEL, EXECUTION),
    "fsdp": (PartitioningConfig(style="fsdp"), MODEL, EXECUTION),
    "tensor": (PartitioningConfig(style="tensor_parallel", fsdp=1, tensor=4), MODEL, EXECUTION),
    "fsdp_tensor_sequence_sharded": (
        PartitioningConfig(style="sequence_parallel", fsdp=2, tensor=2),
        MODEL,
        replace(EXECUTION, remat="full"),
    ),
}
"""Partitioning, model and execution; the last one has sequence-sharded residuals and full remat."""


def parts(
    partitioning: PartitioningConfig,
    config: ModelConfig,
    execution: Execution = EXECUTION,
    topology: str = TOPOLOGY,
    *,
    num_slices: int = 1,
) -> tuple[FunctionalModel, Partitioner]:
    devices = compile_only_devices(parse_topology(topology, num_slices=num_slices))
    return build(config, execution), make_partitioner(partitioning, devices)


def compiled_step(
    partitioning: PartitioningConfig,
    config: ModelConfig,
    execution: Execution = EXECUTION,
    batch: BatchShape = BATCH,
    topology: str = TOPOLOGY,
    *,
    num_slices: int = 1,
    step: StepConfig = CLIPPED,
    trainable: tuple[str, ...] | None = None,
) -> CompiledStep:
    """Compile AdamW, by default of all parameters and with gradient clipping, as large models are trained."""
    model, partitioner = parts(partitioning, config, execution, topology, num_slices=num_slices)
    schedule = WarmupCosine(peak=1e-3, warmup_steps=10).build(100)
    optimizer = resolve_trained(trainable, (), model.abstract_params).optimizer(
        lambda axes, factors: AdamWConfig().build(schedule, axes, factors), model.logical_axes
    )
    slices = parse_topology(topology, num_slices=num_slices)
    return compile_step(model, optimizer, partitioner, slices, batch, step)


def and_text(compiles: Callable[[], CompiledStep]) -> tuple[CompiledStep, str]:
    """Return a step that is compiled inside, and the text of its module."""
    texts, parse = [], hlo.parse
    with mock.patch.object(hlo, "parse", lambda text: texts.append(text) or parse(text)):
        step = compiles()
    return step, texts[-1]


@functools.cache
def way(name: str) -> CompiledStep:
    """One of the four, compiled once a process."""
    return compiled_step(*WAYS[name])


@functools.cache
def predicted(name: str, batch: BatchShape = BATCH, trainable: tuple[str, ...] | None = None) -> Prediction:
    """What the cost model says of one of the four."""
    partitioning, config, execution = WAYS[name]
    model, topology = build(config, execution), parse_topology(TOPOLOGY)
    costs = CostModel(model, planned_optimizer(AdamWConfig(), model, trainable), topology, batch)
    mesh = costs.on(abstract_partitioner(partitioning, topology.num_devices))
    return mesh.predict(PlannedExecution(remat=execution.remat))
