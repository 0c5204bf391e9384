"""Let a run write: answer, continue, fill in masks, or name a class."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t5lite.checkpointing.reading import Step
from t5lite.core.errors import ConfigError
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives import Objective
from t5lite.data.objectives.ul2 import Ul2, prompt_of_mode
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.text_classification import classification_rows, classify
from t5lite.evaluation.text_generation import (
    GenerationSizes,
    Inputs,
    Output,
    Row,
    fitting_rows,
    generate_outputs,
    prompts_of_pairs,
)
from t5lite.models.config import ModelConfig
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.components import load_trained
from t5lite.runner.generation_lengths import GenerationLengths, generation_lengths
from t5lite.runner.run_directory import RunDirectory


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


def generate(
    run: str | Path,
    inputs: Sequence[str],
    *,
    step: Step = "newest",
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
    batch_size: int = 16,
) -> list[str]:
    """Return the greedy output text of a run for each input text; arguments as of ``start_generation``."""
    generation = start_generation(
        run,
        inputs,
        step=step,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
    )
    return [output.text for output in generation.outputs]


def start_generation(
    run: str | Path,
    inputs: Sequence[str],
    *,
    step: Step = "newest",
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
    batch_size: int = 16,
) -> Generation:
    """Check inputs and run, load its newest (or given) checkpoint, and return what decodes greedily.

    An encoder-decoder's inputs may hold sentinels (``<extra_id_0>``). A decoder-only model continues its
    inputs, or answers them where it was trained on pairs or to denoise. After UL2, a text may begin with its
    mode: ``[R]``, ``[S]`` or ``[X]``. A masked LM fills in ``[MASK]``. A classifier of
    sequences names the class. Inputs are cut to ``encoder_length`` tokens, prompts at their beginning.

    Args:
      run: run directory, of a training or an import.
      inputs: texts.
      step: checkpoint, or "best"; the newest by default.
      encoder_length: most tokens of an input; by default what the run was trained on.
      max_decode_length: most tokens of an output; by default what the run was trained on.
      batch_size: inputs at once.

    Raises:
      UserError: if a length or size is out of range, or the run directory or its checkpoint cannot be used.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be 1 or more")
    directory = RunDirectory.at(run)
    config, vocabulary = directory.read_model()
    trained = directory.read_config() if directory.config_file.is_file() else None
    lengths = generation_lengths(
        config, trained, encoder_length=encoder_length, max_decode_length=max_decode_length
    )
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    if config.num_classes is not None:
        classes = directory.read_classes()
        if classes is None:
            raise ConfigError(
                f"{run} has no {directory.classes_file.name}, so that nothing says what its "
                f"{config.num_classes} outputs mean; fine-tune it on pairs whose targets are the classes"
            )
        rows = classification_rows(config, vocabulary, inputs, encoder_length=lengths.encoder_length)
        loaded = load_trained(directory, partitioner, step=step)
        outputs = classify(loaded.model, loaded.params, rows, classes, batch_size=batch_size)
        return Generation(lengths, tuple(row.num_tokens for row in rows), False, outputs)
    given = _as_trained(trained, config, inputs, vocabulary, inputs_length=lengths.encoder_length)
    rows, least_length = fitting_rows(
        config,
        vocabulary,
        given,
        encoder_length=lengths.encoder_length,
        max_decode_length=lengths.max_decode_length,
    )
    loaded = load_trained(directory, partitioner, step=step)
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
        eos_ids=directory.read_eos_ids(),
    )
    keeps_end = config.architecture == "decoder_only" and not _answers(trained)
    return Generation(lengths, tuple(row.num_tokens for row in rows), keeps_end, outputs)


def _as_trained(
    trained: RunConfig | None,
    model: ModelConfig,
    texts: Sequence[str],
    vocabulary: Vocabulary,
    *,
    inputs_length: int,
) -> Inputs:
    """Return inputs that begin and end as the texts that the model was trained on."""
    if trained is None or not model.writes:
        return texts  # imported: trained on what its tokenizer makes of a text
    objective = _objective(trained)
    if isinstance(objective, Ul2):
        modes = [prompt_of_mode(text, vocabulary) for text in texts]
        if model.architecture == "encoder_decoder":
            return [ids for _, ids in modes]
        return _prompts_of_modes(modes, vocabulary, inputs_length=inputs_length)
    if model.architecture == "encoder_decoder":
        return texts
    if _answers(trained):
        return prompts_of_pairs(texts, vocabulary, inputs_length=inputs_length)
    if trained.initialize_from is None:
        # Trained on a store from the start: no document of it begins with the tokenizer's prefix.
        return [vocabulary.encode(text, parse_sentinels=True) for text in texts]
    return texts


def _answers(trained: RunConfig | None) -> bool:
    """Whether a decoder-only model answers inputs that end with EOS."""
    if trained is None:
        return False
    objective = _objective(trained)
    return objective is None or objective.ends_inputs


def _prompts_of_modes(
    modes: Sequence[tuple[str | None, np.ndarray]], vocabulary: Vocabulary, *, inputs_length: int
) -> list[Row]:
    """Return prompts of a decoder-only model: inputs that it is to fill in end with EOS."""
    rows = []
    for mode, ids in modes:
        if mode in (None, "S"):
            # A prompt loses its beginning, but not its mode.
            front = ids[: mode is not None]
            kept = np.append(front, ids[len(front) :][-max(1, inputs_length - len(front)) :])
            rows.append(Row(kept.astype(np.int32), len(ids)))
        else:
            rows += prompts_of_pairs([ids], vocabulary, inputs_length=inputs_length)
    return rows


def _objective(trained: RunConfig) -> Objective | None:
    """Return the objective that a run was trained on, None if there was none."""
    data = trained.evaluated_data
    return data.objective if isinstance(data, PretrainingDataConfig) else None
