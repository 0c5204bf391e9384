"""An encoder-decoder answers an input."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from t5lite.core.errors import ConfigError
from t5lite.core.types import Batch
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.decoding.decoder import AnsweringDecoder
from t5lite.decoding.mode import Given, Inputs, Row, TrainedOn, framed_row, written_limit
from t5lite.decoding.searching import Searching
from t5lite.decoding.strategies import Search
from t5lite.models.config import ModelConfig
from t5lite.models.program import Program


class Answering(Searching):
    """Inputs end with EOS, or stand in the vocabulary's own frame; the marks are segment ids."""

    decoder = AnsweringDecoder

    @classmethod
    def programs(cls, config: ModelConfig, search: Search) -> dict[str, Program]:
        """Return ``greedy``, which takes encoder inputs."""
        config.check_length(search.max_decode_length)

        def run(module: Any, batch: Batch) -> dict[str, jax.Array]:
            tokens_BM, marks = (jnp.asarray(batch[field]) for field in fields)
            return {"tokens": cls.greedy(module, tokens_BM, marks, search)}

        fields = ("encoder_input_tokens", "encoder_segment_ids")
        return {"greedy": Program(run=run, fields=fields)}

    @staticmethod
    def frame(vocabulary: Vocabulary, trained: TrainedOn) -> Frame:
        """Return what the data puts around its inputs, or EOS behind them."""
        eos_id = vocabulary.special_id("eos", needed_for="an encoder-decoder model")
        return trained.source.frame_of(vocabulary) or Frame(after=(eos_id,))

    def check_chunks(self, chunk_size: int) -> None:
        """Refuse: every token of an input sees those behind it."""
        raise ConfigError(
            f"prefill_chunk_size={chunk_size} is for models of a decoder alone; an encoder reads its input "
            "whole: leave it out"
        )

    def prompts(self, texts: Sequence[str], trained: TrainedOn) -> Inputs:
        """Return the inputs as the data has them."""
        return [trained.source.prompt(text, self.vocabulary) for text in texts]

    def row(self, given: Given) -> Row:
        """Return the input in its frame: a prompt's is as in training, others' as the vocabulary has it."""
        if isinstance(given, Row):
            return given
        eos_id = self.vocabulary.special_id("eos", needed_for="an encoder-decoder model")
        frame = given.frame if isinstance(given, Prompt) else self.vocabulary.own_frame
        # An empty input is a lone EOS, also in the rows that fill up: no row is masked altogether.
        return framed_row(self.ids(given), frame or Frame(after=(eos_id,)), self.encoder_length)

    def fitted(self, rows: Sequence[Row]) -> int:
        """Return ``encoder_length`` itself: results do not depend on the company an input is in."""
        del rows
        self.config.check_length(self.encoder_length)
        written = self.search.max_decode_length
        most = written_limit(self.config, self.decoding.strategy.num_ahead)
        if most is not None and written > most:
            raise ConfigError(
                f"max_decode_length={written} needs {self.max_read} positions and the model has "
                f"{self.config.position_limit}; use {most} or less"
            )
        return self.encoder_length
