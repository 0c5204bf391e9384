"""A decoder-only model continues a prompt."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Batch
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.decoding.decoder import ContinuingDecoder
from t5lite.decoding.mode import (
    OUTPUT_LENGTH,
    GenerationLengths,
    Given,
    Inputs,
    Row,
    TrainedOn,
    framed_row,
    written_limit,
)
from t5lite.decoding.searching import Searching
from t5lite.decoding.strategies import Search
from t5lite.models.config import ModelConfig
from t5lite.models.program import Program


class Continuing(Searching):
    """Prompts end at the last column; the marks are the columns of their first tokens."""

    decoder = ContinuingDecoder

    @staticmethod
    def lengths(
        config: ModelConfig,
        trained: TrainedOn | None,
        *,
        encoder_length: int | None,
        max_decode_length: int | None,
        num_ahead: int,
    ) -> GenerationLengths:
        """Return lengths that share a row, as the table of positions has one for both."""
        limit = written_limit(config, num_ahead)
        inputs, outputs = _one_row(config, trained, limit, encoder_length, max_decode_length)
        if limit is None:
            return GenerationLengths(inputs, outputs, None, None)
        return GenerationLengths(inputs, outputs, limit - outputs + 1, limit - (encoder_length or 1) + 1)

    @classmethod
    def programs(cls, config: ModelConfig, search: Search) -> dict[str, Program]:
        """Return ``greedy``, which takes prompts with their padding in front."""
        config.check_length(search.max_decode_length)

        def run(module: Any, batch: Batch) -> dict[str, jax.Array]:
            tokens_BL, segment_ids_BL = (jnp.asarray(batch[field]) for field in fields)
            first_B = jnp.sum(segment_ids_BL == 0, axis=1, dtype=jnp.int32)
            return {"tokens": cls.greedy(module, tokens_BL, first_B, search)}

        fields = ("decoder_input_tokens", "decoder_segment_ids")
        return {"greedy": Program(run=run, fields=fields, added_length=search.max_decode_length - 1)}

    @property
    def start_id(self) -> int:
        """Documents follow an EOS in training, so a text begins after one."""
        start = self.vocabulary.bos_id if self.vocabulary.eos_id is None else self.vocabulary.eos_id
        return 0 if start is None else start

    @staticmethod
    def frame(vocabulary: Vocabulary, trained: TrainedOn) -> Frame:
        """Return what a prompt begins with, and the EOS behind one that is to be answered."""
        prompt = _prompt("", vocabulary, trained)
        if not prompt.ends:
            return Frame(before=tuple(prompt.ids[: prompt.num_leading].tolist()))
        return Frame(after=(vocabulary.special_id("eos", needed_for="a model that was trained on pairs"),))

    def check_chunks(self, chunk_size: int) -> None:
        """Refuse where every token of a prompt sees those behind it."""
        if self.config.sees_later_inputs:
            raise ConfigError(
                f"prefill_chunk_size={chunk_size} is for causal prompts; with "
                "prefix_attention='bidirectional' a prompt is read whole: leave it out"
            )

    def prompts(self, texts: Sequence[str], trained: TrainedOn) -> Inputs:
        """Return prompts as the data has them."""
        return [_prompt(text, self.vocabulary, trained) for text in texts]

    def row(self, given: Given) -> Row:
        """Return the prompt; without EOS it loses its beginning, but not what it begins with."""
        if isinstance(given, Row):
            return given
        prompt = self._prompt(given)
        if prompt.ends:
            eos_id = self.vocabulary.special_id("eos", needed_for="a model that was trained on pairs")
            return framed_row(prompt.ids, Frame(after=(eos_id,)), self.encoder_length)
        leading, ids = np.split(prompt.ids.astype(np.int32), [prompt.num_leading])
        room = self.encoder_length - len(leading)
        if len(ids) and room < 1:
            raise ConfigError(
                f"encoder_length={self.encoder_length} has no room for a token after the {len(leading)} that "
                f"a prompt begins with; use {len(leading) + 1} or more"
            )
        kept = np.append(leading, ids[-room:] if len(ids) else ids)
        if not len(kept):
            return Row(np.array([self.start_id], np.int32), 1)
        return Row(kept, len(prompt.ids), keeps_end=True)

    def _prompt(self, given: str | np.ndarray | Prompt) -> Prompt:
        if isinstance(given, Prompt):
            return given
        prefix = self.vocabulary.prompt_prefix if isinstance(given, str) else ()
        return Prompt.after(prefix, self.ids(given))

    def fitted(self, rows: Sequence[Row]) -> int:
        """Return the least length; the last token that is written need not be read."""
        length, written = super().fitted(rows), self.search.max_decode_length
        limit = written_limit(self.config, self.decoding.strategy.num_ahead)
        if limit is not None and length + written - 1 > limit:
            raise ConfigError(
                f"a prompt of {length} tokens and a text of {written} need {length + self.max_read - 1} "
                f"positions and the model has {self.config.position_limit}; use an encoder_length and a "
                f"max_decode_length that are {limit + 1} together, or less"
            )
        return length

    def arrays(self, rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return prompts ``[B, length]``, and the column of each one's first token."""
        tokens_BL = np.zeros((len(rows), length), np.int32)
        first_B = np.zeros(len(rows), np.int32)
        for row, ids in enumerate(rows):
            first_B[row] = length - len(ids)
            tokens_BL[row, first_B[row] :] = ids
        return tokens_BL, first_B


def _prompt(text: str, vocabulary: Vocabulary, trained: TrainedOn) -> Prompt:
    """Return the prompt of a text.

    After a training elsewhere it begins as the tokenizer begins a text; no document of a store does.
    """
    prefix = () if trained.from_scratch else vocabulary.prompt_prefix
    return trained.source.prompt(text, vocabulary, prefix=prefix)


def _one_row(
    config: ModelConfig,
    trained: TrainedOn | None,
    limit: int | None,
    encoder_length: int | None,
    max_decode_length: int | None,
) -> tuple[int, int]:
    """Return how prompt and continuation divide one row between them, within a limit."""
    source = trained and trained.source
    row = config.max_length if source is None else source.lengths(config.architecture)[1]
    if limit is not None:
        row = min(row, limit)
    outputs = min(OUTPUT_LENGTH, max(1, row // 2))
    if source is not None and source.answer_length is not None:
        outputs = source.answer_length
    if encoder_length is not None:
        room = outputs if limit is None else limit - encoder_length + 1
        return encoder_length, max_decode_length or max(1, min(outputs, room))
    if max_decode_length is None:
        return max(1, row - outputs + 1), outputs
    # A longer continuation than rows are may leave the prompt half a row, where positions do not end.
    inputs = max(row - max_decode_length + 1, (row + 1) // 2)
    if limit is not None:
        inputs = max(1, min(inputs, limit - max_decode_length + 1))
    return inputs, max_decode_length
