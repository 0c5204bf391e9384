"""Let a run write."""

from collections.abc import Sequence
from pathlib import Path

from t5lite.core.errors import ConfigError
from t5lite.evaluation.evaluator import generate_texts
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.components import load_trained
from t5lite.runner.run_directory import RunDirectory


def generate(
    run: str | Path,
    inputs: Sequence[str],
    *,
    step: int | None = None,
    encoder_length: int = 512,
    max_decode_length: int = 128,
    batch_size: int = 16,
) -> list[str]:
    """Return the greedy output of a run's newest (or given) checkpoint for each input text.

    Inputs may hold sentinels (``<extra_id_0>``); they are cut to ``encoder_length`` tokens.

    Raises:
      UserError: if a length or size is out of range, or the run directory or its checkpoint cannot be used.
    """
    sizes = {
        "encoder_length": encoder_length,
        "max_decode_length": max_decode_length,
        "batch_size": batch_size,
    }
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{name}={size} must be 1 or more")
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    trained = load_trained(RunDirectory.at(run), partitioner, step=step)
    return generate_texts(
        trained.model,
        trained.params,
        trained.vocabulary,
        inputs,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
    )
