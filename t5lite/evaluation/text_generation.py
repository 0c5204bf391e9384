"""Texts for a list of inputs, by what the architecture can do: answer, continue, or fill in masks."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.objectives.masked_lm import special_tokens
from t5lite.data.vocabulary import Vocabulary
from t5lite.decoding import greedy, greedy_continuation
from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig, ModelConfig
from t5lite.models.functional import FunctionalModel

MASK = "[MASK]"
"""What stands for a hidden token in a text, whatever the vocabulary calls it."""
_FILLING_HEADS = ("masked_lm", "pretraining")

Inputs = Sequence[str] | Sequence[np.ndarray]
"""Texts, or ids without the special tokens that frame an input; a prompt of ids is taken as it is."""


class TextGenerator:
    """Greedy generation of texts with one compiled function of one fixed batch shape.

    An encoder-decoder answers an input. A decoder-only model continues it, a text with the vocabulary's
    ``prompt_prefix`` in front; the continuation alone is returned. An encoder-only model with a masked LM
    head returns the input with every ``[MASK]`` replaced by its most probable token, each for itself.

    Keep the object to generate repeatedly (every evaluation of a fine-tuning run) without compiling again.
    """

    def __init__(
        self,
        model: FunctionalModel,
        vocabulary: Vocabulary,
        *,
        encoder_length: int,
        max_decode_length: int,
        batch_size: int,
    ):
        """Compile nothing yet; the first call does.

        Args:
          model: the functional model that ``params`` belong to.
          vocabulary: encodes inputs that are texts, and decodes outputs.
          encoder_length: inputs are cut to this many tokens, special ones included; of prompts the last
            ones are kept.
          max_decode_length: most tokens generated for an input, EOS included; nothing to a masked LM.
          batch_size: inputs decoded at once; the last batch is filled up with empty inputs.

        Raises:
          ConfigError: if the model cannot generate.
        """
        self.vocabulary, self.batch_size = vocabulary, batch_size
        self._mode = mode = _mode(model.config, vocabulary, encoder_length, max_decode_length)

        def decode(params: Tree, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
            return mode.run(model.bind(params), tokens_BM, marks)

        self._decode = jax.jit(decode)

    def __call__(self, params: Tree, inputs: Inputs) -> list[str]:
        """Return one text for each input, in order."""
        texts: list[str] = []
        waiting: list[tuple[jax.Array, np.ndarray]] = []
        for start in range(0, len(inputs), self.batch_size):
            chunk = [self._mode.encode(given) for given in inputs[start : start + self.batch_size]]
            filled_up = chunk + [np.zeros(0, np.int32)] * (self.batch_size - len(chunk))
            tokens_BM, marks = self._mode.arrays(filled_up)
            waiting.append((self._decode(params, tokens_BM, marks), marks[: len(chunk)]))
            if len(waiting) > 1:
                texts += self._decoded(*waiting.pop(0))
        for outputs_BL, marks in waiting:
            texts += self._decoded(outputs_BL, marks)
        return texts

    def _decoded(self, outputs_BL: jax.Array, marks: np.ndarray) -> list[str]:
        rows = zip(np.asarray(outputs_BL), marks, strict=False)  # marks end where the rows that fill up begin
        return [self.vocabulary.decode(self._mode.cut(ids, mark)) for ids, mark in rows]


def generate_texts(
    model: FunctionalModel,
    params: Tree,
    vocabulary: Vocabulary,
    inputs: Inputs,
    *,
    encoder_length: int,
    max_decode_length: int,
    batch_size: int,
) -> list[str]:
    """Return the output text for each input, in order; arguments as of ``TextGenerator``."""
    generator = TextGenerator(
        model,
        vocabulary,
        encoder_length=encoder_length,
        max_decode_length=max_decode_length,
        batch_size=batch_size,
    )
    return generator(params, inputs)


def least_encoder_length(
    config: ModelConfig,
    vocabulary: Vocabulary,
    inputs: Inputs,
    *,
    encoder_length: int,
    max_decode_length: int,
) -> int:
    """Return the least ``encoder_length`` that serves these inputs, at most the given one.

    An encoder-decoder keeps the given one, so that its results do not depend on the company an input is in.
    Needs no parameters: what cannot work is refused before they are read.

    Raises:
      ConfigError: if the model cannot generate, or inputs or outputs are too long for a learned position
        table.
    """
    mode = _mode(config, vocabulary, encoder_length, max_decode_length)
    lengths = [mode.length(mode.encode(given)) for given in inputs]
    if config.architecture == "encoder_decoder":
        config.check_length(max_decode_length)
    else:
        encoder_length = min(encoder_length, max(lengths, default=encoder_length))
    added = max_decode_length - 1 if config.architecture == "decoder_only" else 0
    config.check_length(encoder_length + added)
    return encoder_length


def prompts_of_pairs(inputs: Inputs, vocabulary: Vocabulary, *, inputs_length: int) -> list[np.ndarray]:
    """Return the inputs of pairs as the prompts that a decoder-only model was trained to answer."""
    eos_id = vocabulary.special_id("eos", needed_for="a model that was trained on pairs")
    encoded = (_ids(given, vocabulary)[: inputs_length - 1] for given in inputs)
    return [np.append(ids, eos_id).astype(np.int32) for ids in encoded]


class _Mode(Protocol):
    """How inputs become arrays, arrays outputs, and outputs the ids of a text."""

    def encode(self, given: str | np.ndarray) -> np.ndarray: ...

    def length(self, ids: np.ndarray) -> int: ...

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]: ...

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array: ...

    def cut(self, ids: np.ndarray, marks: np.ndarray) -> np.ndarray: ...


def _mode(config: ModelConfig, vocabulary: Vocabulary, encoder_length: int, max_decode_length: int) -> _Mode:
    if isinstance(config, DecoderOnlyConfig):
        return _Continuing(vocabulary, encoder_length, max_decode_length)
    if not isinstance(config, EncoderOnlyConfig):
        return _Answering(vocabulary, encoder_length, max_decode_length)
    if config.head not in _FILLING_HEADS:
        raise ConfigError(
            f"an encoder-only model with head={config.head!r} writes no text; one with head="
            f"{' or '.join(map(repr, _FILLING_HEADS))} fills in {MASK}"
        )
    return _Filling(vocabulary, encoder_length)


class _Answering:
    """An encoder-decoder; the marks are segment ids."""

    def __init__(self, vocabulary: Vocabulary, encoder_length: int, max_decode_length: int):
        self.vocabulary, self.encoder_length = vocabulary, encoder_length
        self.max_decode_length = max_decode_length
        self.eos_id = vocabulary.special_id("eos", needed_for="an encoder-decoder model")

    def encode(self, given: str | np.ndarray) -> np.ndarray:
        return _ids(given, self.vocabulary)

    def length(self, ids: np.ndarray) -> int:
        return len(ids) + 1

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        # An empty input is a lone EOS, also in the rows that fill up: no row is masked altogether.
        ended = [np.append(ids[: self.encoder_length - 1], self.eos_id) for ids in rows]
        return _left_aligned(ended, self.encoder_length)

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
        return greedy(
            model,
            tokens_BM,
            encoder_segment_ids_BM=marks,
            max_decode_length=self.max_decode_length,
            eos_id=self.eos_id,
        )

    def cut(self, ids: np.ndarray, marks: np.ndarray) -> np.ndarray:
        del marks
        return _until(ids, self.eos_id)


class _Continuing:
    """A decoder-only model; the marks are the columns of the prompts' first tokens."""

    def __init__(self, vocabulary: Vocabulary, encoder_length: int, max_decode_length: int):
        self.vocabulary, self.encoder_length = vocabulary, encoder_length
        self.max_decode_length = max_decode_length
        self.eos_id = vocabulary.eos_id
        # Documents follow an EOS in training, so a text begins after one.
        start = vocabulary.bos_id if vocabulary.eos_id is None else vocabulary.eos_id
        self.start_id = 0 if start is None else start

    def encode(self, given: str | np.ndarray) -> np.ndarray:
        if not isinstance(given, str):
            return given
        prefix = np.array(self.vocabulary.prompt_prefix, np.int32)
        ids, room = _ids(given, self.vocabulary), self.encoder_length - len(prefix)
        if len(ids) and room < 1:
            raise ConfigError(
                f"encoder_length={self.encoder_length} has no room for a token after the {len(prefix)} that "
                f"the tokenizer begins a text with; use {len(prefix) + 1} or more"
            )
        return np.append(prefix, ids[-room:])

    def length(self, ids: np.ndarray) -> int:
        return max(len(ids), 1)

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tokens_BL = np.zeros((len(rows), self.encoder_length), np.int32)
        first_B = np.zeros(len(rows), np.int32)
        for row, ids in enumerate(rows):
            kept = ids[-self.encoder_length :] if len(ids) else np.array([self.start_id])
            first_B[row] = self.encoder_length - len(kept)
            tokens_BL[row, first_B[row] :] = kept
        return tokens_BL, first_B

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
        return greedy_continuation(
            model,
            tokens_BM,
            first_B=marks,
            max_decode_length=self.max_decode_length,
            eos_id=self.eos_id,
        )

    def cut(self, ids: np.ndarray, marks: np.ndarray) -> np.ndarray:
        del marks
        return _until(ids, self.eos_id)


class _Filling:
    """A masked LM; the marks are segment ids."""

    def __init__(self, vocabulary: Vocabulary, encoder_length: int):
        if encoder_length < 3:
            raise ConfigError(
                f"encoder_length={encoder_length} has no room for a token between [CLS] and [SEP]; use 3 or "
                "more"
            )
        self.vocabulary, self.encoder_length = vocabulary, encoder_length
        self.special = special_tokens(vocabulary)

    def encode(self, given: str | np.ndarray) -> np.ndarray:
        if not isinstance(given, str):
            return given
        mask = np.array([self.special.mask], np.int32)
        first, *others = (_ids(part, self.vocabulary) for part in given.split(MASK))
        return np.concatenate([first, *(np.append(mask, ids) for ids in others)])

    def length(self, ids: np.ndarray) -> int:
        return max(len(ids), 1) + 2

    def arrays(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        _, cls, sep = self.special
        framed = [np.array([cls, *ids[: self.encoder_length - 2], sep]) for ids in rows]
        return _left_aligned(framed, self.encoder_length)

    def run(self, model: Any, tokens_BM: jax.Array, marks: jax.Array) -> jax.Array:
        logits_BMV = model({"encoder_input_tokens": tokens_BM, "encoder_segment_ids": marks})["tokens"]
        best_BM = jnp.argmax(logits_BMV, axis=-1).astype(jnp.int32)
        return jnp.where(tokens_BM == self.special.mask, best_BM, tokens_BM)

    def cut(self, ids: np.ndarray, marks: np.ndarray) -> np.ndarray:
        return ids[marks == 1][1:-1]


def _ids(given: str | np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    return vocabulary.encode(given, parse_sentinels=True) if isinstance(given, str) else given


def _left_aligned(rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and segment ids, int32 ``[B, length]``."""
    tokens_BM, segment_ids_BM = (np.zeros((len(rows), length), np.int32) for _ in range(2))
    for row, ids in enumerate(rows):
        tokens_BM[row, : len(ids)] = ids
        segment_ids_BM[row, : len(ids)] = 1
    return tokens_BM, segment_ids_BM


def _until(ids: np.ndarray, eos_id: int | None) -> np.ndarray:
    """Return the ids before the first EOS: what follows is padding, which may be a token of its own."""
    ends = [] if eos_id is None else np.flatnonzero(ids == eos_id)
    return ids[: ends[0]] if len(ends) else ids
