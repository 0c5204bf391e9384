"""How probable a model finds given targets, in a few compiled shapes whatever their lengths."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.decoding import left_aligned
from t5lite.evaluation.length_buckets import UNBOUNDED, padded_length
from t5lite.models.config import Architecture, ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.partitioning.rules import activated, even_rows
from t5lite.training.logit_statistics import logit_statistics

Ids = Sequence[int] | np.ndarray


class GivenTarget(NamedTuple):
    """What is scored: the ids of a target, and those that it is written after."""

    context: Ids
    """All that an encoder reads, framed; of a decoder-only model what the target goes on from, not empty."""
    target: Ids
    """Not empty; with EOS where the end is to be scored."""


class TargetScore(NamedTuple):
    """Of each token of a target, given those before it."""

    log_probs: np.ndarray
    """float32, natural logarithms."""
    chosen: np.ndarray
    """bool: whether greedy search would write it there; of equally probable tokens none is chosen."""

    @property
    def log_likelihood(self) -> float:
        """Log-probability of the whole target."""
        return float(np.sum(self.log_probs, dtype=np.float64))

    @property
    def is_greedy(self) -> bool:
        """Whether greedy search writes the target."""
        return bool(np.all(self.chosen))


class _Layout(NamedTuple):
    """How an architecture is given targets."""

    lengths: Callable[[GivenTarget], tuple[int, ...]]
    """Columns of the encoder, if there is one, and of the decoder."""
    arrays: Callable[[ModelConfig, Sequence[GivenTarget], tuple[int, ...]], dict[str, np.ndarray]]
    """A batch with rows of those lengths."""


def _answer_arrays(
    config: ModelConfig, given: Sequence[GivenTarget], lengths: tuple[int, ...]
) -> dict[str, np.ndarray]:
    inputs_BM, encoder_segments_BM = left_aligned([np.asarray(each.context) for each in given], lengths[0])
    targets_BL, decoder_segments_BL = left_aligned([np.asarray(each.target) for each in given], lengths[1])
    shifted_BL = np.roll(targets_BL, 1, axis=1)
    shifted_BL[:, 0] = config.decoder_start_id
    return {
        "encoder_input_tokens": inputs_BM,
        "encoder_segment_ids": encoder_segments_BM,
        "decoder_input_tokens": shifted_BL,
        "decoder_segment_ids": decoder_segments_BL,
        "decoder_target_tokens": targets_BL,
    }


def _continuation_arrays(
    config: ModelConfig, given: Sequence[GivenTarget], lengths: tuple[int, ...]
) -> dict[str, np.ndarray]:
    del config
    rows = [np.concatenate([each.context, each.target]).astype(np.int32) for each in given]
    inputs_BL, segments_BL = left_aligned([row[:-1] for row in rows], lengths[0])
    targets_BL, _ = left_aligned([row[1:] for row in rows], lengths[0])
    num_context_B1 = np.array([[len(each.context)] for each in given])
    return {
        "decoder_input_tokens": inputs_BL,
        "decoder_segment_ids": segments_BL,
        # Of a model that reads inputs in both directions: what a prompt would hold.
        "decoder_bidirectional": (np.arange(lengths[0])[None] < num_context_B1).astype(np.int32),
        "decoder_target_tokens": targets_BL,
    }


_LAYOUTS: Mapping[Architecture, _Layout] = {
    "encoder_decoder": _Layout(lambda given: (len(given.context), len(given.target)), _answer_arrays),
    "decoder_only": _Layout(
        lambda given: (len(given.context) + len(given.target) - 1,), _continuation_arrays
    ),
}


class TargetScorer:
    """Scores targets in batches of one size, each padded to a bucket of lengths.

    Keep the object to score repeatedly without compiling again.

    Args:
      model: the functional model that ``params`` belong to.
      batch_size: targets at once, made up to what devices share evenly; the last batch of a bucket is filled
        up.
      partitioner: where ``params`` lie; None for one device.

    Raises:
      ConfigError: if the model has no decoder.
    """

    def __init__(self, model: FunctionalModel, *, batch_size: int, partitioner: Partitioner | None = None):
        layout = _LAYOUTS.get(model.config.architecture)
        if layout is None:
            raise ConfigError(
                "an encoder-only model gives a text no probability; score with an encoder-decoder or a "
                "decoder-only model"
            )
        self.config, self._layout = model.config, layout
        self.batch_size = even_rows(batch_size, partitioner)

        def score(params: Tree, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
            targets_BL = batch["decoder_target_tokens"]
            with activated(partitioner):
                logits = model.bind(params).outputs(batch)["tokens"]
                found = logit_statistics(logits, targets_BL, num_chunks=None)
            return found.target - found.log_z, found.target > found.runner_up

        # Every process of several reads all scores, of which its devices would hold a part.
        self._score = jax.jit(score, out_shardings=partitioner.replicated if partitioner else None)

    def __call__(self, params: Tree, given: Sequence[GivenTarget]) -> Iterator[tuple[int, TargetScore]]:
        """Yield the number and the score of each target, the longest first; see ``scores`` for their order.

        Raises:
          ConfigError: if a row is longer than a learned position table, before anything is computed.
        """
        shapes = [self._shape(each) for each in given]
        order = sorted(range(len(given)), key=lambda number: shapes[number], reverse=True)
        return self._scored(params, given, shapes, order)

    def scores(self, params: Tree, given: Sequence[GivenTarget]) -> list[TargetScore]:
        """Return the score of each target, in order; errors as of a call."""
        found = dict(self(params, given))
        return [found[number] for number in range(len(given))]

    def _shape(self, given: GivenTarget) -> tuple[int, ...]:
        lengths = self._layout.lengths(given)
        self.config.check_length(max(lengths))
        most = self.config.position_limit or UNBOUNDED
        return tuple(padded_length(length, most) for length in lengths)

    def _scored(
        self,
        params: Tree,
        given: Sequence[GivenTarget],
        shapes: Sequence[tuple[int, ...]],
        order: Sequence[int],
    ) -> Iterator[tuple[int, TargetScore]]:
        waiting: list[tuple[list[int], tuple[jax.Array, jax.Array]]] = []
        for numbers in _batches(order, shapes, self.batch_size):
            filled_up = numbers + numbers[:1] * (self.batch_size - len(numbers))
            rows = [given[number] for number in filled_up]
            arrays = self._layout.arrays(self.config, rows, shapes[numbers[0]])
            waiting.append((numbers, self._score(params, arrays)))
            if len(waiting) > 1:  # the next is computed while this one is read
                yield from self._read(given, *waiting.pop(0))
        for batch in waiting:
            yield from self._read(given, *batch)

    def _read(
        self, given: Sequence[GivenTarget], numbers: list[int], found: tuple[jax.Array, jax.Array]
    ) -> Iterator[tuple[int, TargetScore]]:
        log_probs_BL, chosen_BL = (np.asarray(each) for each in found)
        for row, number in enumerate(numbers):
            end = self._layout.lengths(given[number])[-1]
            columns = slice(end - len(given[number].target), end)
            yield number, TargetScore(log_probs_BL[row, columns], chosen_BL[row, columns])


def _batches(order: Sequence[int], shapes: Sequence[tuple[int, ...]], batch_size: int) -> Iterator[list[int]]:
    """Yield numbers of one shape each, ``batch_size`` at most."""
    batch: list[int] = []
    for number in order:
        if batch and (len(batch) == batch_size or shapes[number] != shapes[batch[0]]):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
