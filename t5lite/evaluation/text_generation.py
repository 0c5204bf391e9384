"""Texts for a list of inputs, by what the architecture can do: answer, continue, or fill in masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.objectives.masked_lm import special_tokens
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import greedy, greedy_continuation, ids_of_eos, most_probable
from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig, ModelConfig
from t5lite.models.functional import FunctionalModel

MASK = "[MASK]"
"""What stands for a hidden token in a text, whatever the vocabulary calls it."""
_FILLING_HEADS = ("masked_lm", "pretraining")


class Row(NamedTuple):
    """What a model reads of one input."""

    ids: np.ndarray
    """With the special tokens that frame it, cut to the length there is."""
    num_tokens: int
    """Before it was cut."""

    @property
    def cut(self) -> bool:
        """Whether something of the input is left out."""
        return len(self.ids) < self.num_tokens


class Output(NamedTuple):
    """What a model made of one input."""

    text: str
    input_cut: bool
    """Whether it saw only a part of the input."""
    output_cut: bool = False
    """Whether it was stopped at the greatest length before it had ended."""


Inputs = Sequence[str] | Sequence[np.ndarray] | Sequence[Row]
"""Texts; ids without the special tokens that frame an input (a prompt is taken as it is); or whole rows."""


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
        self._mode = mode = _mode(
            model.config, vocabulary, sizes.encoder_length, sizes.max_decode_length, eos_ids
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


def fitting_rows(
    config: ModelConfig,
    vocabulary: Vocabulary,
    inputs: Inputs,
    *,
    encoder_length: int,
    max_decode_length: int,
) -> tuple[list[Row], int]:
    """Return the rows of these inputs and the least ``encoder_length`` for them, at most the given one.

    An encoder-decoder keeps the given one, so that its results do not depend on the company an input is in.
    Needs no parameters: what cannot work is refused before they are read.

    Raises:
      ConfigError: if the model cannot generate, or inputs or outputs are too long for a learned position
        table.
    """
    mode = _mode(config, vocabulary, encoder_length, max_decode_length)
    rows = [mode.row(given) for given in inputs]
    if config.architecture == "encoder_decoder":
        config.check_length(max_decode_length)
    else:
        encoder_length = max((len(row.ids) for row in rows), default=encoder_length)
        encoder_length = max(encoder_length, mode.least_length)
    added = max_decode_length - 1 if config.architecture == "decoder_only" else 0
    config.check_length(encoder_length + added)
    return rows, encoder_length


def prompts_of_pairs(inputs: Inputs, vocabulary: Vocabulary, *, inputs_length: int) -> list[Row]:
    """Return the inputs of pairs as the prompts that a decoder-only model was trained to answer."""
    eos_id = vocabulary.special_id("eos", needed_for="a model that was trained on pairs")
    return [_ended(_ids(given, vocabulary), eos_id, inputs_length) for given in inputs]


class _Mode(Protocol):
    """How inputs become rows, rows arrays, and what is computed the ids of a text."""

    least_length: ClassVar[int]
    """Of an input."""

    def row(self, given: str | np.ndarray | Row) -> Row: ...

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]: ...

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array: ...

    def ended(self, ids: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the ids of the text, and whether it is whole."""
        ...


def _mode(
    config: ModelConfig,
    vocabulary: Vocabulary,
    encoder_length: int,
    max_decode_length: int,
    eos_ids: Sequence[int] = (),
) -> _Mode:
    known_V = np.zeros(config.vocab_size, bool)
    known_V[: vocabulary.size] = vocabulary.known_ids
    eos_ids = tuple(dict.fromkeys((*ids_of_eos(vocabulary.eos_id), *eos_ids)))
    if isinstance(config, DecoderOnlyConfig):
        return _Continuing(vocabulary, encoder_length, max_decode_length, eos_ids, known_V)
    if not isinstance(config, EncoderOnlyConfig):
        return _Answering(vocabulary, encoder_length, max_decode_length, eos_ids, known_V)
    if config.head not in _FILLING_HEADS:
        raise ConfigError(
            f"an encoder-only model with head={config.head!r} writes no text; one with head="
            f"{' or '.join(map(repr, _FILLING_HEADS))} fills in {MASK}"
        )
    return _Filling(vocabulary, encoder_length, known_V)


class _Decoding:
    """What modes have in common that decode token by token."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        encoder_length: int,
        max_decode_length: int,
        eos_ids: tuple[int, ...],
        known_V: np.ndarray,
    ):
        self.vocabulary, self.encoder_length = vocabulary, encoder_length
        self.max_decode_length = max_decode_length
        self.eos_ids, self.known_V = eos_ids, known_V

    def ended(self, ids: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, bool]:
        del marks
        return _until(ids, self.eos_ids)


class _Answering(_Decoding):
    """An encoder-decoder; the marks are segment ids."""

    least_length: ClassVar[int] = 1

    @property
    def eos_id(self) -> int:
        return self.vocabulary.special_id("eos", needed_for="an encoder-decoder model")

    def row(self, given: str | np.ndarray | Row) -> Row:
        if isinstance(given, Row):
            return given
        # An empty input is a lone EOS, also in the rows that fill up: no row is masked altogether.
        return _ended(_ids(given, self.vocabulary), self.eos_id, self.encoder_length)

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return left_aligned(rows, self.encoder_length)

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
        return greedy(
            model,
            tokens_BM,
            encoder_segment_ids_BM=marks,
            max_decode_length=self.max_decode_length,
            eos_id=self.eos_ids,
            known_V=self.known_V,
        )


class _Continuing(_Decoding):
    """A decoder-only model; the marks are the columns of the prompts' first tokens."""

    least_length: ClassVar[int] = 1

    @property
    def start_id(self) -> int:
        """Documents follow an EOS in training, so a text begins after one."""
        start = self.vocabulary.bos_id if self.vocabulary.eos_id is None else self.vocabulary.eos_id
        return 0 if start is None else start

    def row(self, given: str | np.ndarray | Row) -> Row:
        if isinstance(given, Row):
            return given
        ids = _ids(given, self.vocabulary)
        prefix = self.vocabulary.prompt_prefix if isinstance(given, str) else ()
        room = self.encoder_length - len(prefix)
        if len(ids) and room < 1:
            raise ConfigError(
                f"encoder_length={self.encoder_length} has no room for a token after the {len(prefix)} that "
                f"the tokenizer begins a text with; use {len(prefix) + 1} or more"
            )
        kept = np.append(np.array(prefix, np.int32), ids[-room:] if len(ids) else ids)
        if not len(kept):
            return Row(np.array([self.start_id], np.int32), 1)
        return Row(kept, len(prefix) + len(ids))

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tokens_BL = np.zeros((len(rows), self.encoder_length), np.int32)
        first_B = np.zeros(len(rows), np.int32)
        for row, ids in enumerate(rows):
            first_B[row] = self.encoder_length - len(ids)
            tokens_BL[row, first_B[row] :] = ids
        return tokens_BL, first_B

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
        return greedy_continuation(
            model,
            tokens_BM,
            first_B=marks,
            max_decode_length=self.max_decode_length,
            eos_id=self.eos_ids,
            known_V=self.known_V,
        )


class _Filling:
    """A masked LM; the marks are segment ids."""

    least_length: ClassVar[int] = 3

    def __init__(self, vocabulary: Vocabulary, encoder_length: int, known_V: np.ndarray):
        if encoder_length < self.least_length:
            raise ConfigError(
                f"encoder_length={encoder_length} has no room for a token between [CLS] and [SEP]; use "
                f"{self.least_length} or more"
            )
        self.vocabulary, self.encoder_length, self.known_V = vocabulary, encoder_length, known_V
        self.special = special_tokens(vocabulary)

    def row(self, given: str | np.ndarray | Row) -> Row:
        if isinstance(given, Row):
            return given
        ids = self._encoded(given) if isinstance(given, str) else given
        _, cls, sep = self.special
        framed = np.array([cls, *ids[: self.encoder_length - 2], sep], np.int32)
        return Row(framed, len(ids) + 2)

    def _encoded(self, text: str) -> np.ndarray:
        mask = np.array([self.special.mask], np.int32)
        first, *others = (_ids(part, self.vocabulary) for part in text.split(MASK))
        return np.concatenate([first, *(np.append(mask, ids) for ids in others)])

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return left_aligned(rows, self.encoder_length)

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
        logits_BMV = model({"encoder_input_tokens": tokens_BM, "encoder_segment_ids": marks})["tokens"]
        best_BM = most_probable(logits_BMV, self.known_V)
        return jnp.where(tokens_BM == self.special.mask, best_BM, tokens_BM)

    def ended(self, ids: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, bool]:
        return ids[marks == 1][1:-1], True


def _ids(given: str | np.ndarray | Row, vocabulary: Vocabulary) -> np.ndarray:
    if isinstance(given, Row):
        return given.ids
    return vocabulary.encode(given, parse_sentinels=True) if isinstance(given, str) else given


def _ended(ids: np.ndarray, eos_id: int, length: int) -> Row:
    """Return the ids, cut to fit, and EOS."""
    return Row(np.append(ids[: length - 1], eos_id).astype(np.int32), len(ids) + 1)


def left_aligned(rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and segment ids, int32 ``[B, length]``."""
    tokens_BM, segment_ids_BM = (np.zeros((len(rows), length), np.int32) for _ in range(2))
    for row, ids in enumerate(rows):
        tokens_BM[row, : len(ids)] = ids
        segment_ids_BM[row, : len(ids)] = 1
    return tokens_BM, segment_ids_BM


def _until(ids: np.ndarray, eos_ids: Sequence[int]) -> tuple[np.ndarray, bool]:
    """Return the ids before the first EOS, and whether there is one; padding that follows may be a token."""
    ends = np.flatnonzero(np.isin(ids, eos_ids))
    return (ids[: ends[0]], True) if len(ends) else (ids, False)
