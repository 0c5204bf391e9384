"""Texts for a list of inputs, by what the architecture can do: answer, continue, or fill in masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import Inputs, Row, decoding_mode
from t5lite.models.functional import FunctionalModel


class Output(NamedTuple):
    """What a model made of one input."""

    text: str
    input_cut: bool
    """Whether it saw only a part of the input."""
    output_cut: bool = False
    """Whether it was stopped at the greatest length before it had ended."""


@dataclass(frozen=True, kw_only=True)
class GenerationSizes:
    """How much is read and written at once.

    Attributes:
      encoder_length: inputs are cut to this many tokens, special ones included; of prompts the last ones
        are kept.
      max_decode_length: most tokens generated for an input, EOS included; nothing to a masked LM.
      batch_size: inputs decoded at once; the last batch is filled up with empty inputs.
    """

    encoder_length: int
    max_decode_length: int
    batch_size: int


class TextGenerator:
    """Greedy generation of texts with one compiled function of one fixed batch shape.

    An encoder-decoder answers an input. A decoder-only model continues it, a text with the vocabulary's
    ``prompt_prefix`` in front; the continuation alone is returned. An encoder-only model with a masked LM
    head returns the input with every ``[MASK]`` replaced by its most probable token, each for itself.
    Rows of the model's table that stand for no token of the vocabulary are never chosen.

    Keep the object to generate repeatedly (every evaluation of a fine-tuning run) without compiling again.
    """

    def __init__(
        self,
        model: FunctionalModel,
        vocabulary: Vocabulary,
        sizes: GenerationSizes,
        *,
        eos_ids: Sequence[int] = (),
    ):
        """Compile nothing yet; the first call does.

        Args:
          model: the functional model that ``params`` belong to.
          vocabulary: encodes inputs that are texts, and decodes outputs.
          sizes: of inputs, outputs and batches.
          eos_ids: what ends an output besides the vocabulary's EOS.

        Raises:
          ConfigError: if the model cannot generate.
        """
        self.vocabulary, self.batch_size = vocabulary, sizes.batch_size
        self._mode = mode = decoding_mode(model.config)(
            model.config,
            vocabulary,
            encoder_length=sizes.encoder_length,
            max_decode_length=sizes.max_decode_length,
            eos_ids=eos_ids,
        )

        def decode(params: Tree, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
            return mode.run(model.bind(params), tokens_BM, marks)

        self._decode = jax.jit(decode)

    def __call__(self, params: Tree, inputs: Inputs) -> Iterator[Output]:
        """Yield one output for each input, in order; batch by batch, while the next one is decoded."""
        waiting: list[tuple[jax.Array, np.ndarray, list[Row]]] = []
        for start in range(0, len(inputs), self.batch_size):
            rows = [self._mode.row(given) for given in inputs[start : start + self.batch_size]]
            empty = self._mode.row(np.zeros(0, np.int32))
            filled_up = [row.ids for row in rows] + [empty.ids] * (self.batch_size - len(rows))
            tokens_BM, marks = self._mode.arrays(filled_up)
            waiting.append((self._decode(params, tokens_BM, marks), marks, rows))
            if len(waiting) > 1:
                yield from self._decoded(*waiting.pop(0))
        for batch in waiting:
            yield from self._decoded(*batch)

    def _decoded(self, outputs_BL: jax.Array, marks: np.ndarray, rows: list[Row]) -> Iterator[Output]:
        # The rows end where those that fill up begin.
        for ids, mark, row in zip(np.asarray(outputs_BL), marks, rows, strict=False):
            kept, whole = self._mode.ended(ids, mark)
            yield Output(self.vocabulary.decode(kept), input_cut=row.cut, output_cut=not whole)


def generate_outputs(
    model: FunctionalModel,
    params: Tree,
    vocabulary: Vocabulary,
    inputs: Inputs,
    sizes: GenerationSizes,
    *,
    eos_ids: Sequence[int] = (),
) -> Iterator[Output]:
    """Yield the output for each input, in order; arguments as of ``TextGenerator``."""
    return TextGenerator(model, vocabulary, sizes, eos_ids=eos_ids)(params, inputs)
