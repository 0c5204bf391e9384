"""Trains one run on changing meshes and batch sizes, and the same on one device; prints what they saw.

A process of its own, because the number of CPU devices is fixed when JAX starts.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from t5lite.checkpointing.reading import read_metadata
from t5lite.data.batch_stream import BatchStream
from t5lite.data.pipeline import open_pipeline
from t5lite.data.prepare import write_text_store
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.optim import Constant
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.quickstart.corpus import austen
from t5lite.run_config import RunConfig
from t5lite.runner import start_plan
from t5lite.runner.training import train
from t5lite.training.metrics_log import read_metrics
from tests.e2e import tiny_recipe
from tests.unit.data.test_hosts import row_hashes


class Attempt(NamedTuple):
    """One start of a run."""

    until: int
    batch_size: int
    num_microbatches: int
    partitioning: PartitioningConfig
    num_devices: int = 8


ONE = PartitioningConfig(fsdp=1)
ATTEMPTS = (
    Attempt(2, 8, 1, PartitioningConfig(fsdp=4, tensor=2, style="tensor_parallel")),
    Attempt(3, 16, 2, PartitioningConfig(fsdp=8, style="fsdp")),
    Attempt(5, 4, 2, ONE, num_devices=1),
)


def run(config: RunConfig, attempts: tuple[Attempt, ...]) -> dict[str, list]:
    """Return the examples that the attempts saw, in order, and the loss and the position after each step."""
    seen: list[str] = []
    read = BatchStream.counted_batch

    def recorded(self, start, **options):
        fields, skipped = read(self, start, **options)
        seen.extend(row_hashes(fields))
        return fields, skipped

    BatchStream.counted_batch = recorded
    try:
        for each in attempts:
            devices = jax.devices()[: each.num_devices]
            start_plan.make_partitioner = lambda asked, devices=devices: make_partitioner(asked, devices)
            changed = dataclasses.replace(
                config,
                training=dataclasses.replace(
                    config.training, total_steps=each.until, batch_size=each.batch_size
                ),
                step=dataclasses.replace(config.step, num_microbatches=each.num_microbatches),
                partitioning=each.partitioning,
            )
            train(changed)
    finally:
        BatchStream.counted_batch = read
    directory = Path(config.run_dir)
    losses = [
        entry["loss"] for entry in read_metrics(directory / "metrics.jsonl") if entry["kind"] == "train"
    ]
    position = read_metadata(directory / "checkpoints", attempts[-1].until)["examples_seen"]
    return {"seen": seen, "losses": losses, "examples_seen": position}


def main() -> None:
    assert jax.device_count() == 8, jax.devices()
    with tempfile.TemporaryDirectory() as folder:
        texts = [paragraph.text for paragraph in austen()[:60]]
        write_text_store(texts, ByteVocabulary(extra_ids=100), Path(folder) / "store", num_threads=1)
        base = tiny_recipe.config()
        config = dataclasses.replace(
            base,
            model=dataclasses.replace(
                base.model,
                num_heads=2,
                num_encoder_layers=1,
                num_decoder_layers=1,
                dropout_rate=0.0,
                vocab_size=384,
            ),
            data=dataclasses.replace(base.data, store=str(Path(folder) / "store")),
            schedule=Constant(value=0.02),
            training=dataclasses.replace(base.training, log_every_steps=1, eval_every_steps=None),
            evaluation=dataclasses.replace(base.evaluation, store=None),
        )
        on_one = tuple(each._replace(partitioning=ONE, num_devices=1) for each in ATTEMPTS)
        results = {
            name: run(dataclasses.replace(config, run_dir=str(Path(folder) / name)), attempts)
            for name, attempts in (("elastic", ATTEMPTS), ("one_device", on_one))
        }
        stream = open_pipeline(config.data, architecture=config.model.architecture, seed=config.seed)
        results["stream"] = row_hashes(stream.rows(np.arange(40)))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
