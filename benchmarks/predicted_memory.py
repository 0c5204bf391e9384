"""GiB a device that the planner predicts and that the compiler asks for: T5 1.1 XL's layers, two and two.

Two layers a stack keep and make what every layer does, and compile in half a minute. Needs the packages of
the ``test`` extra, not a TPU.

    python benchmarks/predicted_memory.py
"""

import dataclasses
import os
import sys
from pathlib import Path

os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from t5lite.models import config as models
from t5lite.models.functional import build
from t5lite.models.presets import preset
from t5lite.optim import AdamWConfig
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution
from t5lite.planning.search.workload import planned_optimizer
from tests.compile.steps import compiled_step

TOPOLOGY = "v5e:4x4"
BATCH = BatchShape(batch_size=256, encoder_length=512, decoder_length=128)
PARTITIONING = PartitioningConfig(style="fsdp")
CASES: tuple[tuple[models.Remat, models.AttentionBackend], ...] = (
    ("full", "flash"),
    ("none", "flash"),
    ("none", "reference"),
)
"""Rematerialisation and attention."""


def main() -> None:
    """Print a row for each case as it is known."""
    layers = {"num_encoder_layers": 2, "num_decoder_layers": 2}
    config = dataclasses.replace(preset("t5-1.1-xl"), **layers)
    topology = parse_topology(TOPOLOGY)
    partitioner = abstract_partitioner(PARTITIONING, topology.num_devices)
    print("| remat, attention | compiler's GiB | predicted | ratio |\n|---|---:|---:|---:|")
    for remat, attention in CASES:
        execution = models.Execution(compute_dtype="bfloat16", remat=remat, attention=attention)
        needed = compiled_step(PARTITIONING, config, execution, BATCH, TOPOLOGY).memory.needed
        model = build(config, execution)
        costs = CostModel(model, planned_optimizer(AdamWConfig(), model), topology, BATCH)
        predicted = costs.on(partitioner).predict(PlannedExecution(remat=remat)).memory.total
        sizes = f"{needed / 2**30:.2f} | {predicted / 2**30:.2f} | {predicted / needed:.2f}"
        print(f"| {remat}, {attention} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
