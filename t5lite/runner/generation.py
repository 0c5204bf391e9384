"""Let a run write: answer, continue, or fill in masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.data.pair_examples import PairsDataConfig
from t5lite.evaluation.text_generation import check_generation, generate_texts, prompts_of_pairs
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

    An encoder-decoder's inputs may hold sentinels (``<extra_id_0>``). A decoder-only model continues its
    inputs, or answers them where it was trained on pairs. A masked LM fills in ``[MASK]``. Inputs are cut to
    ``encoder_length`` tokens, prompts at their beginning.

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
    directory = RunDirectory.at(run)
    config, vocabulary = directory.read_model()
    given: Sequence[str] | Sequence[np.ndarray] = inputs
    if config.architecture == "decoder_only" and _was_trained_on_pairs(directory):
        given = prompts_of_pairs(inputs, vocabulary, inputs_length=encoder_length)
    encoder_length = check_generation(
        config, vocabulary, given, encoder_length=encoder_length, max_decode_length=max_decode_length
    )
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    trained = load_trained(directory, partitioner, step=step)
    return generate_texts(
        trained.model,
        trained.params,
        trained.vocabulary,
        given,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
    )


def _was_trained_on_pairs(directory: RunDirectory) -> bool:
    """Whether prompts end with EOS; an imported model has no configuration to say so."""
    return directory.config_file.is_file() and isinstance(directory.read_config().data, PairsDataConfig)
