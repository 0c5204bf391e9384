"""Texts for a list of inputs, by what the architecture can do: answer, continue, or fill in masks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.cpu.flags import options_of_decoding
from t5lite.data.prompt import Prompt
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import GREEDY, DecodingConfig, Inputs, Row, Written, decoding_mode
from t5lite.decoding.streamed_text import StreamedText, stopped
from t5lite.evaluation.length_buckets import Bucket, buckets
from t5lite.evaluation.stepped_search import Look, SteppedSearch
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated, even_rows

_LOOK_EVERY = 8
"""Tokens after which rows that have a stop string end."""
_BATCHES_SORTED = 16
"""Whose inputs are sorted by length; their outputs come when all are there."""


class Output(NamedTuple):
    """What a model made of one input."""

    text: str
    input_cut: bool
    """Whether it saw only a part of the input."""
    output_cut: bool = False
    """Whether it was stopped at the greatest length before it had ended."""
    log_prob: float | None = None
    """Natural logarithm of the model's own probability of its tokens, of what ends it, too; None if not asked
    for."""
    score: float | None = None
    """What texts of an input were compared by, of a strategy that compares."""
    others: tuple["Output", ...] = ()
    """The other texts for the input, from better to worse; fewer than asked for where there are no more."""


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
    """Generation of texts with a compiled function of one batch size and of a few lengths of inputs.

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
        decoding: DecodingConfig = GREEDY,
        partitioner: Partitioner | None = None,
        show: Callable[[str], None] | None = None,
    ):
        """Compile nothing yet; the first call does.

        Args:
          model: the functional model that ``params`` belong to.
          vocabulary: encodes inputs that are texts, and decodes outputs.
          sizes: of inputs, outputs and batches.
          eos_ids: what ends an output besides the vocabulary's EOS.
          decoding: how texts are written.
          partitioner: where ``params`` lie, and caches and logits with them; None for one device.
          show: takes the text of a lone input piece by piece, if it is written token by token and alone; what
            it was not given when the output comes is the end of it.

        Raises:
          ConfigError: if the model cannot generate.
        """
        self.vocabulary, self._partitioner = vocabulary, partitioner
        self.batch_size = even_rows(sizes.batch_size, partitioner)
        self._mode = mode = decoding_mode(model.config)(
            model.config,
            vocabulary,
            encoder_length=sizes.encoder_length,
            max_decode_length=sizes.max_decode_length,
            eos_ids=eos_ids,
            decoding=decoding,
        )

        def decode(params: Tree, tokens_BM: jax.Array, marks: jax.Array, indices_B: jax.Array) -> Written:
            with activated(partitioner):
                return mode.run(model.bind_for_decoding(params), tokens_BM, marks, indices_B)

        # Every process of several reads all outputs, of which its devices would hold a part.
        self._decode = jax.jit(
            decode,
            out_shardings=partitioner.replicated if partitioner else None,
            compiler_options=options_of_decoding(model.execution.compute_dtype),
        )
        one_text = mode.searches and decoding.strategy.ends_rows and mode.num_sequences == 1
        self._show = show if one_text and sizes.batch_size == 1 else None
        self._stepped = None
        if decoding.stop_strings or self._show:
            every = 1 if self._show else _LOOK_EVERY
            self._stepped = SteppedSearch(model, mode, every=every, partitioner=partitioner)

    def row(self, given: str | np.ndarray | Prompt) -> Row:
        """Return what the model reads of an input."""
        return self._mode.row(given)

    def __call__(self, params: Tree, inputs: Inputs, *, first_index: int = 0) -> Iterator[Output]:
        """Yield one output for each input, in order; while a batch is read, the next one is decoded.

        What is drawn depends on the index of an input; the first has ``first_index``.
        """
        window = _BATCHES_SORTED * self.batch_size
        for start in range(0, len(inputs), window):
            rows = [self._mode.row(given) for given in inputs[start : start + window]]
            yield from self._outputs(params, rows, first=first_index + start)

    def _outputs(self, params: Tree, rows: list[Row], *, first: int) -> list[Output]:
        lengths = [len(row.ids) for row in rows]
        waiting: list[tuple[Bucket, Written, np.ndarray]] = []
        outputs: dict[int, Output] = {}
        for bucket in buckets(lengths, batch_size=self.batch_size, most=self._mode.encoder_length):
            waiting.append((bucket, *self._dispatched(params, bucket, rows, first)))
            if len(waiting) > 1:
                outputs |= self._decoded(*waiting.pop(0), rows)
        for batch in waiting:
            outputs |= self._decoded(*batch, rows)
        return [outputs[number] for number in range(len(rows))]

    def _dispatched(
        self, params: Tree, bucket: Bucket, rows: list[Row], first: int
    ) -> tuple[Written, np.ndarray]:
        """Return what is being decoded, and the marks of its inputs."""
        empty = self._mode.row(np.zeros(0, np.int32)).ids
        filling = [empty] * (self.batch_size - len(bucket.numbers))
        tokens_BM, marks = self._mode.arrays(
            [rows[number].ids for number in bucket.numbers] + filling, bucket.length
        )
        indices_B = np.zeros(self.batch_size, np.int32)
        indices_B[: len(bucket.numbers)] = first + np.asarray(bucket.numbers)
        arrays = tokens_BM, marks, indices_B
        placed = (
            arrays if self._partitioner is None else jax.device_put(arrays, self._partitioner.batch_sharding)
        )
        if self._stepped is not None:
            return self._stepped(params, placed, self._look(len(bucket.numbers))), marks
        return self._decode(params, *placed), marks

    def _look(self, num_inputs: int) -> Look:
        """Return what ends rows at stop strings, and those that fill up; and shows the text of a lone one."""
        stops, num_rows = self._mode.decoding.stop_strings, num_inputs * self._mode.num_sequences
        shown = StreamedText(self.vocabulary, stops)
        ended_R = np.arange(self.batch_size * self._mode.num_sequences) >= num_rows

        def look(tokens_RL: np.ndarray) -> np.ndarray:
            for row in np.flatnonzero(~ended_R):
                ids, whole = self._mode.ended(tokens_RL[row], tokens_RL[row])
                ended_R[row] = whole or stopped(self.vocabulary, ids.tolist(), stops, ended=False) is not None
                if self._show is not None:
                    for token in ids[shown.num_tokens :].tolist():
                        self._show(shown.add(token))
            return ended_R.copy()  # what was returned before may still be read

        return look

    def _decoded(
        self, bucket: Bucket, written: Written, marks: np.ndarray, rows: list[Row]
    ) -> dict[int, Output]:
        outputs, written = {}, jax.device_get(written)
        several = self._mode.num_sequences
        # The rows end where those that fill up begin.
        for place, (number, mark) in enumerate(zip(bucket.numbers, marks, strict=False)):
            best, *others = (
                self._output(written, row, mark, input_cut=rows[number].cut)
                for row in range(place * several, (place + 1) * several)
            )
            real = tuple(each for each in others if each.score is None or each.score > -np.inf)
            outputs[number] = best._replace(others=real)
        return outputs

    def _output(self, written: Written, row: int, mark: np.ndarray, *, input_cut: bool) -> Output:
        ids = np.asarray(written.tokens_RL[row])
        kept, whole = self._mode.ended(ids, mark)
        text, num_tokens, log_prob = self.vocabulary.decode(kept), len(ids), None
        stop = stopped(self.vocabulary, kept.tolist(), self._mode.decoding.stop_strings, ended=True)
        if stop is not None:
            (text, num_tokens), whole = stop, True
        if written.log_probs_RL is not None:
            log_prob = float(np.sum(written.log_probs_RL[row, :num_tokens], dtype=np.float64))
        score = None if written.scores_R is None else float(written.scores_R[row])
        return Output(text, input_cut, not whole, log_prob, score)


def generate_outputs(
    model: FunctionalModel,
    params: Tree,
    vocabulary: Vocabulary,
    inputs: Inputs,
    sizes: GenerationSizes,
    *,
    eos_ids: Sequence[int] = (),
    decoding: DecodingConfig = GREEDY,
    partitioner: Partitioner | None = None,
    first_index: int = 0,
    show: Callable[[str], None] | None = None,
) -> Iterator[Output]:
    """Yield the output for each input, in order; arguments as of ``TextGenerator`` and its call."""
    generator = TextGenerator(
        model, vocabulary, sizes, eos_ids=eos_ids, decoding=decoding, partitioner=partitioner, show=show
    )
    return generator(params, inputs, first_index=first_index)
