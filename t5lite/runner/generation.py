"""Let a run write: answer, continue, fill in masks, or name a class."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError
from t5lite.decoding import GREEDY, DecodingConfig, GenerationLengths, decoding_mode, generation_lengths
from t5lite.evaluation.text_classification import classification_rows, classify
from t5lite.evaluation.text_generation import GenerationSizes, Output, generate_outputs
from t5lite.models.config import ModelConfig
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.averages import Average
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.trained_on import trained_on


@dataclass(frozen=True)
class Generation:
    """A generation that has been checked and is about to begin."""

    lengths: GenerationLengths
    num_tokens: tuple[int, ...]
    """Of each input, before it was cut to ``lengths.encoder_length``."""
    keeps_end: bool
    """Whether an input that is too long loses its beginning, as a prompt does."""
    outputs: Iterator[Output]
    """One of each input, in order; to take the first compiles."""
    step: int
    """Of the checkpoint."""
    num_sequences: int = 1
    """Texts for an input."""


def generate(
    run: str | Path,
    inputs: Sequence[str],
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
    batch_size: int = 16,
    decoding: DecodingConfig = GREEDY,
) -> list[str]:
    """Return the output text of a run for each input text; arguments as of ``start_generation``."""
    generation = start_generation(
        run,
        inputs,
        step=step,
        average=average,
        weights=weights,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
        decoding=decoding,
    )
    return [output.text for output in generation.outputs]


def start_generation(
    run: str | Path,
    inputs: Sequence[str],
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
    batch_size: int = 16,
    decoding: DecodingConfig = GREEDY,
    first_index: int = 0,
    show: Callable[[str], None] | None = None,
) -> Generation:
    """Check inputs and run, load its newest (or given) checkpoint, and return what decodes.

    An encoder-decoder's inputs may hold sentinels (``<extra_id_0>``). A decoder-only model continues its
    inputs, or answers them where it was trained on pairs or to denoise. After UL2, a text may begin with its
    mode: ``[R]``, ``[S]`` or ``[X]``. A masked LM fills in ``[MASK]``. A classifier of
    sequences names the class. Inputs are cut to ``encoder_length`` tokens, prompts at their beginning.

    Args:
      run: run directory, of a training or an import.
      inputs: texts.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters (``runner.averages``).
      weights: as of ``load_trained``.
      encoder_length: most tokens of an input; by default what the run was trained on.
      max_decode_length: most tokens of an output; by default what the run was trained on.
      batch_size: inputs at once.
      decoding: how texts are written; by greedy search by default.
      first_index: of the first input among all, where some were written before: what is drawn depends on it.
      show: takes the text of a lone input as it is written, as of ``TextGenerator``.

    Raises:
      UserError: if a length or size is out of range, or the run directory or its checkpoint cannot be used.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be 1 or more")
    directory = RunDirectory.at(run)
    found = Snapshot(directory)
    config, vocabulary = found.model.narrowed, found.vocabulary
    trained = trained_on(found)
    lengths = generation_lengths(
        config,
        trained,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        num_ahead=decoding.strategy.num_ahead,
    )
    partitioner = make_partitioner(generation_partitioning(config, jax.device_count()))
    if config.num_classes is not None:
        classes = found.classes
        if classes is None:
            raise ConfigError(
                f"{run} has no {directory.classes_file.name}, so that nothing says what its "
                f"{config.num_classes} outputs mean; fine-tune it on pairs whose targets are the classes"
            )
        if decoding != GREEDY:
            raise ConfigError(
                f"{run} is a classifier, which names a class; options of decoding are for models with a "
                "decoder: leave them out"
            )
        rows = classification_rows(config, vocabulary, inputs, encoder_length=lengths.encoder_length)
        loaded = load_trained(found, partitioner, step=step, average=average, weights=weights)
        outputs = classify(loaded.model, loaded.params, rows, classes, batch_size=batch_size)
        return Generation(lengths, tuple(row.num_tokens for row in rows), False, outputs, loaded.step)
    mode = decoding_mode(config)(
        config,
        vocabulary,
        encoder_length=lengths.encoder_length,
        max_decode_length=lengths.max_decode_length,
        eos_ids=found.model.eos_ids,
        decoding=decoding,
    )
    # An imported model was trained on what its tokenizer makes of a text.
    given = inputs if trained is None else mode.prompts(inputs, trained)
    rows = [mode.row(each) for each in given]
    # What cannot work is refused before parameters are read.
    least_length = mode.fitted(rows)
    loaded = load_trained(found, partitioner, step=step, average=average, weights=weights)
    outputs = generate_outputs(
        loaded.model,
        loaded.params,
        loaded.vocabulary,
        rows,
        GenerationSizes(
            encoder_length=least_length,
            max_decode_length=lengths.max_decode_length,
            batch_size=batch_size,
        ),
        eos_ids=found.model.eos_ids,
        decoding=decoding,
        partitioner=partitioner,
        first_index=first_index,
        show=show,
    )
    keeps_end = any(row.keeps_end for row in rows)
    num_tokens = tuple(row.num_tokens for row in rows)
    return Generation(lengths, num_tokens, keeps_end, outputs, loaded.step, mode.num_sequences)


def generation_partitioning(config: ModelConfig, num_devices: int) -> PartitioningConfig:
    """Return how devices share a model that writes: each has a part of the parameters, and of the caches.

    As many as divide its heads share them, with the columns of the MLP and the words of the table: then no
    kernel is gathered for a position. The others share the inputs, and the rows of kernels.
    """
    heads = [number for numbers in config.head_counts.values() for number in numbers]
    return PartitioningConfig(style="tensor_parallel", tensor=math.gcd(num_devices, *heads), fsdp=-1)
