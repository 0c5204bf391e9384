"""A run as it is served: its model, and how a request's prompt becomes what the model reads."""

import os
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from t5lite.checkpointing.reading import Step
from t5lite.core.architectures import has_one_row
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import DecodingMode, Row, TrainedOn, decoding_mode, generation_lengths
from t5lite.evaluation.stepwise_generation import StepwiseGenerator
from t5lite.models.config import ModelConfig
from t5lite.partitioning import make_partitioner
from t5lite.runner.generation import generation_partitioning
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.trained_on import trained_on
from t5lite.serving.protocol import RequestError


class Prompts:
    """Turns prompts into rows, and refuses those that the model would see a part of.

    Args:
      config: of the model.
      mode: how it reads. Of a decoder-only model ``encoder_length`` is the length of the context, which a
        prompt and what is written share.
      trained: what it was trained on; None of an imported model.
      max_tokens: most tokens that are written.
    """

    def __init__(self, config: ModelConfig, mode: DecodingMode, trained: TrainedOn | None, max_tokens: int):
        self._config, self._mode, self._trained = config, mode, trained
        self.max_tokens = max_tokens
        self._shares_row = has_one_row(config.architecture)

    def row(self, prompt: str | tuple[int, ...]) -> Row:
        """Return what the model reads of a prompt.

        Raises:
          RequestError: if it is too long, or has ids of no token.
        """
        limit = self._mode.encoder_length - self._shares_row  # a prompt leaves room for a token
        if isinstance(prompt, str):
            given = prompt if self._trained is None else self._mode.prompts([prompt], self._trained)[0]
        else:
            size = self._mode.vocabulary.size
            if bad := [each for each in prompt if not 0 <= each < size]:
                raise RequestError(f"prompt has the id {bad[0]}; ids go from 0 to {size - 1}", param="prompt")
            given = np.array(prompt, np.int32)
        row = self._mode.row(given)
        if row.num_tokens > limit:
            raise RequestError(
                f"prompt has {row.num_tokens:,} tokens; this model reads {limit:,} at most",
                param="prompt",
                code="context_length_exceeded",
            )
        return row

    def check_room(self, row: Row, max_tokens: int) -> None:
        """Check that as many tokens can be written for a row.

        Raises:
          RequestError: if not.
        """
        room = self._mode.encoder_length - len(row.ids) if self._shares_row else self.max_tokens
        if max_tokens > room:
            raise RequestError(
                f"max_tokens={max_tokens:,} beside a prompt of {len(row.ids):,} tokens; there is room for "
                f"{room:,}",
                param="max_tokens",
                code="context_length_exceeded",
            )


@dataclass(frozen=True)
class ServedModel:
    """What is served."""

    name: str
    step: int
    generator: StepwiseGenerator
    params: Any
    prompts: Prompts

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the model."""
        return self.generator.vocabulary


def load_served(
    run: str | os.PathLike[str],
    *,
    name: str | None = None,
    step: Step = "newest",
    weights: Weights | None = None,
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
) -> ServedModel:
    """Load what is served of a run, over all devices as ``generate`` has it.

    Args:
      run: run directory, of a training or an import.
      name: by which requests ask for it; by default that of the directory.
      step: checkpoint, or "best"; the newest by default.
      weights: as of ``load_trained``.
      encoder_length: most tokens of a prompt; by default as of ``generate``.
      max_decode_length: most tokens that are written; by default as of ``generate``. A decoder-only model
        shares both among prompt and text.

    Raises:
      UserError: if a length is out of range, the model does not write, or the run cannot be read.
    """
    directory = RunDirectory.at(run)
    found = Snapshot(directory)
    config, trained = found.model.narrowed, trained_on(found)
    lengths = generation_lengths(
        config, trained, encoder_length=encoder_length, max_decode_length=max_decode_length
    )
    longest = lengths.encoder_length + lengths.max_decode_length - 1
    shares_row = has_one_row(config.architecture)
    for length in (longest,) if shares_row else (lengths.encoder_length, lengths.max_decode_length):
        config.check_length(length)
    mode = decoding_mode(config)(
        config,
        found.vocabulary,
        # The last token that is written is never read, and needs no position.
        encoder_length=longest + 1 if shares_row else lengths.encoder_length,
        max_decode_length=lengths.max_decode_length,
    )
    partitioner = make_partitioner(generation_partitioning(config, jax.device_count()))
    loaded = load_trained(found, partitioner, step=step, weights=weights)
    eos_ids = found.model.eos_ids
    generator = StepwiseGenerator(loaded.model, loaded.vocabulary, eos_ids=eos_ids, partitioner=partitioner)
    prompts = Prompts(config, mode, trained, lengths.max_decode_length)
    served_name = name or directory.path.name or "t5lite"
    return ServedModel(served_name, loaded.report.step, generator, loaded.params, prompts)
