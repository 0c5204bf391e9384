"""Training speeds that others published, and what the cost model predicts for the same runs.

A prediction is optimistic, so a run in public must never have been faster. How much slower it was says how
far a prediction is off for code that has been tuned. The same holds of what the compiler's program takes at
least: figures that ``published_compiled`` has kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5lite.models import config
from t5lite.models.config import DecoderOnlyConfig, ModelConfig, Remat
from t5lite.models.flops import train_step_flops
from t5lite.models.functional import build
from t5lite.models.presets import preset
from t5lite.optim import AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution, Prediction

_V5E = "MaxText, MaxText/configs/v5e: README.md (table), 16b.sh, 32b.sh, 64b.sh, 128b.sh (settings)"
_V5P = "MaxText, MaxText/configs/v5p: README.md (table), 32b.sh … 1024b.sh (settings)"
_T5X = "NVIDIA JAX-Toolbox, rosetta/rosetta/projects/t5x/README.md"
_V6E = "AI-Hypercomputer/tpu-recipes, training/trillium"
_MAXTEXT_LENGTH = 2048
COMPILED = Path(__file__).resolve().parents[1] / "docs" / "data" / "published_compiled.json"
"""Of runs by title, what ``published_compiled.figures`` says."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a run's step is compiled."""

    remat: Remat
    kept: tuple[str, ...] = ()
    """Names for ``remat``'s policy."""
    num_microbatches: int = 1

    @property
    def words(self) -> str:
        """For the table."""
        names = f"{self.remat} {', '.join(self.kept)}".strip()
        return names + (f"; {self.num_microbatches} microbatches" if self.num_microbatches > 1 else "")


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """One line of a published table, in this project's terms."""

    name: str
    source: str
    model: ModelConfig
    topology: str
    batch: BatchShape
    partitioning: PartitioningConfig
    execution: PlannedExecution
    """What the setting says of recomputation, or the reading of it that predicts the fastest step."""
    compiled_as: Way
    """How it is compiled here: as ``execution``, or the fastest way found that fits where that does not, or
    where the setting kept arrays in the host's memory."""
    step_seconds: float | None = None
    """As published, or None where the table has FLOP/s."""
    tflops_per_device: float | None = None
    """As published: FLOPs without recomputation, causal attention in full."""

    @property
    def title(self) -> str:
        """Name and slice, which no two runs share."""
        return f"{self.name} on {self.topology}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A published run beside its prediction."""

    run: PublishedRun
    prediction: Prediction
    measured_seconds: float
    measured_mfu: float
    """By this project's count of FLOPs."""
    compiled: dict[str, Any] | None
    """What is kept of the compiled step (``published_compiled.figures``), None if it was not compiled."""

    @property
    def compiled_seconds(self) -> float | None:
        """What a step takes at least by the compiler, None if it was not compiled."""
        return max(self.compiled["seconds"].values()) if self.compiled else None

    @property
    def scheduled_seconds(self) -> float | None:
        """What the compiled step takes as it is scheduled, None if it was not compiled."""
        return self.compiled["scheduled_seconds"] if self.compiled else None

    @property
    def share(self) -> float:
        """The predicted time over the measured one: how much of the predicted speed was reached."""
        return self.prediction.time.step / self.measured_seconds


def compare(run: PublishedRun) -> Comparison:
    """Return the prediction for a published run, all computed in bfloat16, and the kept compiled bound."""
    topology = parse_topology(run.topology)
    model = build(run.model, config.Execution(compute_dtype="bfloat16"))
    optimizer = AdamWConfig().build(Constant().build(1), model.logical_axes)
    partitioner = abstract_partitioner(run.partitioning, topology.num_devices)
    prediction = CostModel(model, optimizer, topology, run.batch).on(partitioner).predict(run.execution)
    flops = train_step_flops(
        run.model,
        batch_size=run.batch.batch_size,
        encoder_length=run.batch.encoder_length,
        decoder_length=run.batch.decoder_length,
    )
    seconds = run.step_seconds
    if seconds is None:
        assert run.tflops_per_device is not None, f"{run.name} has neither seconds nor FLOP/s"
        seconds = flops / topology.num_devices / (run.tflops_per_device * 1e12)
    peak = topology.num_devices * topology.chip.flops_per_second
    return Comparison(
        run=run,
        prediction=prediction,
        measured_seconds=seconds,
        measured_mfu=flops / peak / seconds,
        compiled=json.loads(COMPILED.read_text(encoding="utf-8")).get(run.title),
    )


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the table of docs/planning.md."""
    lines = [
        "| run | topology | measured s | compiled, at least | as scheduled | predicted s "
        "| of the predicted speed | MFU measured | predicted | compiled as |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for each in comparisons:
        cells = [
            each.run.name,
            each.run.topology,
            f"{each.measured_seconds:.2f}",
            _seconds(each.compiled_seconds),
            _seconds(each.scheduled_seconds),
            f"{each.prediction.time.step:.2f}",
            f"{each.share:.0%}",
            f"{each.measured_mfu:.1%}",
            f"{each.prediction.mfu:.1%}",
            each.run.compiled_as.words if each.compiled else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def _maxtext(scale: int) -> DecoderOnlyConfig:
    """Return MaxText's default model scaled to about ``scale`` billion parameters.

    Each doubling widens heads and MLP, then the residual stream, then doubles the depth, in turn, from 2048
    wide and 16 deep (MaxText ``get_individual_scales`` and ``base.yml``).
    """
    depth, rest = divmod(scale.bit_length() - 1, 3)
    wide = 2 ** (depth + (rest > 0))
    return DecoderOnlyConfig(
        vocab_size=32_000,
        embed_dim=2048 * 2 ** (depth + (rest > 1)),
        mlp_dim=7168 * wide,
        head_dim=128,
        num_heads=16 * wide,
        num_layers=16 * 2**depth,
    )


def _llama(
    *, embed_dim: int, mlp_dim: int, num_heads: int, num_layers: int, vocab_size: int
) -> DecoderOnlyConfig:
    return DecoderOnlyConfig(
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=128,
        num_heads=num_heads,
        num_kv_heads=8,
        num_layers=num_layers,
    )


_FULL = PlannedExecution(remat="full", fused_attention=True)
_DOTS = PlannedExecution(remat="dots", fused_attention=True)
_ATTENTION_KEPT = Way(remat="save", kept=("context", "key", "value"))
"""The MLP, queries and the norms are made again, and attention is not."""
_ALL_ATTENTION_KEPT = Way(remat="save", kept=("context", "query", "key", "value"), num_microbatches=2)


def _table_row(
    source: str,
    scale: int,
    topology: str,
    rows: int,
    tensor: int,
    execution: PlannedExecution,
    tflops: float,
    compiled_as: Way | None = None,
) -> PublishedRun:
    """Return a line of MaxText's tables; ``rows`` a device."""
    style = "sequence_parallel" if tensor > 1 else "fsdp"
    return PublishedRun(
        name=f"MaxText {scale}B",
        source=source,
        model=_maxtext(scale),
        topology=topology,
        batch=BatchShape(
            batch_size=rows * parse_topology(topology).num_devices, decoder_length=_MAXTEXT_LENGTH
        ),
        partitioning=PartitioningConfig(style=style, tensor=tensor),
        execution=execution,
        compiled_as=compiled_as or Way(remat=execution.remat),
        tflops_per_device=tflops,
    )


def _recipe(
    name: str,
    model: ModelConfig,
    rows: int,
    length: int,
    execution: PlannedExecution,
    seconds: float,
    compiled_as: Way | None = None,
) -> PublishedRun:
    """Return a run of the Trillium recipes; ``rows`` a device."""
    return PublishedRun(
        name=name,
        source=_V6E,
        model=model,
        topology="v6e:16x16",
        batch=BatchShape(batch_size=256 * rows, decoder_length=length),
        partitioning=PartitioningConfig(),
        execution=execution,
        compiled_as=compiled_as or Way(remat=execution.remat),
        step_seconds=seconds,
    )


def _t5x(
    size: str, topology: str, batch_size: int, rows_per_second: float, *, tensor: int = 1
) -> PublishedRun:
    """Return a line of NVIDIA's table for T5X in bfloat16: parameters split along ``tensor`` alone."""
    partitioning = PartitioningConfig(style="data_parallel")
    if tensor > 1:
        rules = (("parameters.embed", None),)
        partitioning = PartitioningConfig(style="tensor_parallel", tensor=tensor, extra_rules=rules)
    return PublishedRun(
        name=f"T5X T5 1.1 {size}",
        source=_T5X,
        model=preset(f"t5-1.1-{size}"),
        topology=topology,
        batch=BatchShape(batch_size=batch_size, encoder_length=512, decoder_length=114),
        partitioning=partitioning,
        execution=PlannedExecution(remat="dots", fused_attention=False),
        compiled_as=Way(remat="dots"),
        step_seconds=batch_size / rows_per_second,
    )


_70B = {"embed_dim": 8192, "mlp_dim": 28_672, "num_heads": 64, "num_layers": 80}
_8B = {"embed_dim": 4096, "mlp_dim": 14_336, "num_heads": 32, "num_layers": 32}

RUNS: tuple[PublishedRun, ...] = (
    _table_row(_V5E, 16, "v5e:16x16", 6, 1, _FULL, 120),
    _table_row(_V5E, 32, "v5e:16x16", 4, 1, _FULL, 132),
    _table_row(_V5E, 64, "v5e:16x16", 2, 1, _FULL, 118),
    # Products are kept in the host's memory.
    _table_row(_V5E, 128, "v5e:16x16", 1, 16, _DOTS, 110, Way(remat="dots", num_microbatches=16)),
    _table_row(_V5P, 32, "v5p:4x4x4", 7, 4, _DOTS, 328, Way(remat="dots", num_microbatches=2)),
    _table_row(_V5P, 64, "v5p:4x4x4", 3, 4, _DOTS, 323),
    _table_row(_V5P, 128, "v5p:4x4x8", 1, 8, _DOTS, 315),
    _table_row(_V5P, 128, "v5p:4x8x8", 1, 8, _DOTS, 316),
    _table_row(_V5P, 256, "v5p:8x8x8", 1, 8, _DOTS, 308),
    _table_row(_V5P, 512, "v5p:8x8x8", 2, 8, _FULL, 294),
    _table_row(_V5P, 1024, "v5p:8x8x16", 2, 8, _FULL, 254),
    _table_row(_V5P, 1024, "v5p:8x16x16", 2, 8, _FULL, 297),
    # The recipes keep some products, in the host's memory; all of them is the optimistic reading. Rows are
    # those of the logged weights: the recipe of Llama 2 70B says 3 a device, its log 2.
    _recipe("Llama 3.1 8B", _llama(**_8B, vocab_size=128_256), 4, 8192, _DOTS, 4.546, _ATTENTION_KEPT),
    _recipe("Llama 2 70B", _llama(**_70B, vocab_size=32_000), 2, 4096, _DOTS, 9.052, _ALL_ATTENTION_KEPT),
    _recipe(
        *("Llama 3.1 70B", _llama(**_70B, vocab_size=128_256), 5, 8192, _DOTS, 42.656),
        Way(remat="save", kept=("key", "value"), num_microbatches=5),
    ),
    _recipe("GPT-3 175B", preset("gpt3-175b"), 3, 2048, _FULL, 17.182),
    _t5x("small", "a100:1x8", 2048, 5712),
    _t5x("large", "a100:8x8", 2048, 4853),
    _t5x("xl", "a100:18x8", 1152, 3021),
    _t5x("xl", "a100:32x8", 2048, 4322),
    _t5x("xxl", "a100:64x8", 2304, 1887, tensor=8),
)
"""One slice each; more slices were slower."""
