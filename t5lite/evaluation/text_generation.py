"""Texts for a list of inputs, by what the architecture can do: answer, continue, or fill in masks."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import Inputs, Row, Written, decoding_mode
from t5lite.evaluation.length_buckets import Bucket, buckets
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner

_BATCHES_SORTED = 16
"""Whose inputs are sorted by length; their outputs come when all are there."""


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
    """Greedy generation of texts with a compiled function of one batch size and of a few lengths of inputs.

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
        partitioner: Partitioner | None = None,
    ):
        """Compile nothing yet; the first call does.

        Args:
          model: the functional model that ``params`` belong to.
          vocabulary: encodes inputs that are texts, and decodes outputs.
          sizes: of inputs, outputs and batches.
          eos_ids: what ends an output besides the vocabulary's EOS.
          partitioner: where ``params`` lie, and caches and logits with them; None for one device.

        Raises:
          ConfigError: if the model cannot generate.
        """
        self.vocabulary, self._partitioner = vocabulary, partitioner
        ways = 1 if partitioner is None else partitioner.num_shards(partitioner.batch_sharding.spec[0])
        self.batch_size = -(-sizes.batch_size // ways) * ways
        self._mode = mode = decoding_mode(model.config)(
            model.config,
            vocabulary,
            encoder_length=sizes.encoder_length,
            max_decode_length=sizes.max_decode_length,
            eos_ids=eos_ids,
        )

        def decode(params: Tree, tokens_BM: jax.Array, marks: jax.Array) -> Written:
            with contextlib.nullcontext() if partitioner is None else partitioner.activate():
                return mode.run(model.bind_for_decoding(params), tokens_BM, marks)

        # Every process of several reads all outputs, of which its devices would hold a part.
        self._decode = jax.jit(decode, out_shardings=partitioner.replicated if partitioner else None)

    def __call__(self, params: Tree, inputs: Inputs) -> Iterator[Output]:
        """Yield one output for each input, in order; while a batch is read, the next one is decoded."""
        window = _BATCHES_SORTED * self.batch_size
        for start in range(0, len(inputs), window):
            rows = [self._mode.row(given) for given in inputs[start : start + window]]
            yield from self._outputs(params, rows)

    def _outputs(self, params: Tree, rows: list[Row]) -> list[Output]:
        lengths = [len(row.ids) for row in rows]
        waiting: list[tuple[Bucket, Written, np.ndarray]] = []
        outputs: dict[int, Output] = {}
        for bucket in buckets(lengths, batch_size=self.batch_size, most=self._mode.encoder_length):
            waiting.append((bucket, *self._dispatched(params, bucket, rows)))
            if len(waiting) > 1:
                outputs |= self._decoded(*waiting.pop(0), rows)
        for batch in waiting:
            outputs |= self._decoded(*batch, rows)
        return [outputs[number] for number in range(len(rows))]

    def _dispatched(self, params: Tree, bucket: Bucket, rows: list[Row]) -> tuple[Written, np.ndarray]:
        """Return what is being decoded, and the marks of its inputs."""
        empty = self._mode.row(np.zeros(0, np.int32)).ids
        filling = [empty] * (self.batch_size - len(bucket.numbers))
        arrays = self._mode.arrays([rows[number].ids for number in bucket.numbers] + filling, bucket.length)
        placed = (
            arrays if self._partitioner is None else jax.device_put(arrays, self._partitioner.batch_sharding)
        )
        return self._decode(params, *placed), arrays[1]

    def _decoded(
        self, bucket: Bucket, written: Written, marks: np.ndarray, rows: list[Row]
    ) -> dict[int, Output]:
        outputs = {}
        # The rows end where those that fill up begin.
        for number, ids, mark in zip(bucket.numbers, np.asarray(written.tokens_RL), marks, strict=False):
            kept, whole = self._mode.ended(ids, mark)
            text = self.vocabulary.decode(kept)
            outputs[number] = Output(text, input_cut=rows[number].cut, output_cut=not whole)
        return outputs


def generate_outputs(
    model: FunctionalModel,
    params: Tree,
    vocabulary: Vocabulary,
    inputs: Inputs,
    sizes: GenerationSizes,
    *,
    eos_ids: Sequence[int] = (),
    partitioner: Partitioner | None = None,
) -> Iterator[Output]:
    """Yield the output for each input, in order; arguments as of ``TextGenerator``."""
    generator = TextGenerator(model, vocabulary, sizes, eos_ids=eos_ids, partitioner=partitioner)
    return generator(params, inputs)
