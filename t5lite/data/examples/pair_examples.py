"""Examples for fine-tuning: (inputs, targets) pairs, one a row with padding, or several by a packing plan."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from t5lite.core.architectures import SIDES_OF, has_one_row, writes
from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError, DataError
from t5lite.core.home import expand_fields
from t5lite.core.types import PAD_ID
from t5lite.data.examples.classification_examples import ClassificationExamples
from t5lite.data.examples.framed_inputs import NUM_FRAMING
from t5lite.data.examples.packing import PackingPlan
from t5lite.data.examples.packing_cache import kept_plan
from t5lite.data.examples.protocol import Examples
from t5lite.data.examples.scored_pairs import check_trained_on
from t5lite.data.examples.source_config import SourceConfig
from t5lite.data.opening import Opening
from t5lite.data.prompt import Prompt
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Frame, Vocabulary

CLASSIFIER = "sequence_classification"
"""The head of an encoder-only model that pairs train."""


@dataclass(frozen=True, kw_only=True)
class PairsDataConfig(SourceConfig):
    """Pairs of a pair store.

    An encoder-decoder and a decoder-only model learn to write the target; an encoder-only model with
    ``head="sequence_classification"`` learns which of the targets it is (``classification_examples``).
    """

    store: str
    """Directory of a pair store, such as OUTPUT/train of `t5lite prepare`."""

    inputs_length: int = 512
    """Tokens of the inputs, EOS (or [CLS] and [SEP], or the vocabulary's own frame) included."""

    targets_length: int = 128
    """Tokens of the targets, EOS included; of no meaning where they are classes."""

    pack: bool = False
    """Put several pairs in a row, apart by segment ids; otherwise each row is one padded pair."""

    overlong: Literal["truncate", "drop"] = "truncate"
    """Cut what does not fit (EOS stays), or leave the pair out."""

    frame: Literal["own", "eos"] = "own"
    """What surrounds the inputs of an encoder-decoder: what the vocabulary's own rules put around a text, EOS
    behind where that is nothing; or EOS behind in any case."""

    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    def __post_init__(self):
        expand_fields(self, "store")
        for name in ("inputs_length", "targets_length"):
            if getattr(self, name) < 2:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 2, a token and EOS")
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"max_epochs={self.max_epochs} must be at least 1, or None to repeat for ever")

    def with_lengths_of_pairs(self, *, inputs_length: int, targets_length: int) -> Self:
        """Return these pairs with other lengths."""
        return dataclasses.replace(self, inputs_length=inputs_length, targets_length=targets_length)

    @property
    def answer_length(self) -> int:
        """Tokens of a target."""
        return self.targets_length

    def prompt(self, text: str, vocabulary: Vocabulary, *, prefix: Sequence[int] = ()) -> Prompt:
        """Return the inputs of a pair."""
        del prefix
        ids = vocabulary.encode(text, parse_sentinels=True)
        return Prompt(ids, ends=True, frame=self.frame_of(vocabulary))

    @property
    def keeps_own_frame(self) -> bool:
        """As ``frame`` says."""
        return self.frame == "own"

    @property
    def kind(self) -> str:
        """Pairs, however they are laid out."""
        return "pairs"

    def open_examples(self, opening: Opening) -> Examples:
        """Return pairs to answer, or of an encoder-only model to classify; a training has no scored ones."""
        architecture = opening.architecture or "encoder_decoder"
        store = PairStore.open(
            self.store, opening.vocabulary_fingerprint, tolerate_damage=opening.tolerates_damage
        )
        if opening.shuffle:
            check_trained_on(store)
        if self.classifies(architecture):
            return ClassificationExamples(self, store, architecture=architecture, classes=opening.classes)
        return PairExamples(self, store, architecture=architecture, start_id=opening.start_id)

    def held_out(self, store: str) -> Self:
        """Return how another store is measured: each pair in a row of its own, cut where it is too long."""
        return dataclasses.replace(super().held_out(store), pack=False, overlong="truncate")

    @property
    def packs_rows(self) -> bool:
        """Whether ``pack`` says so."""
        return self.pack

    def check_model(self, architecture: str, head: str) -> None:
        """Check that a model that does not write classifies rows."""
        if self.classifies(architecture) and head != CLASSIFIER:
            raise ConfigError(
                "PairsDataConfig trains an encoder-only model to tell the targets apart, with head="
                f"{CLASSIFIER!r}, and has no labels for model.head={head!r}; use that head, or "
                "PretrainingDataConfig"
            )

    def classifies(self, architecture: str) -> bool:
        """Whether the targets are classes: to a model that does not write."""
        return not writes(architecture)

    def columns(self) -> dict[str, TokenStore]:
        """Return inputs and targets."""
        pairs = PairStore.open(self.store)
        return {"inputs": pairs.inputs, "targets": pairs.targets}

    def limits(self, architecture: str, vocabulary: Vocabulary) -> dict[str, int]:
        """Return the lengths without EOS, or what else frames a text; classes fit any row."""
        inputs = self.inputs_length - self.num_framing(architecture, vocabulary)
        return {"inputs": inputs, "targets": 0 if self.classifies(architecture) else self.targets_length - 1}

    def num_framing(self, architecture: str, vocabulary: Vocabulary) -> int:
        """Return how many tokens stand around the inputs of such a model."""
        if self.classifies(architecture):
            return NUM_FRAMING
        frame = None if has_one_row(architecture) else self.frame_of(vocabulary)
        return 1 if frame is None else frame.size

    @property
    def drops_overlong(self) -> bool:
        """As ``overlong`` says."""
        return self.overlong == "drop"

    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields: rows are never full, so there are segment ids."""
        encoder_length, decoder_length = self.lengths(architecture)
        sides = SIDES_OF[architecture]
        fields = {f"{side}_input_tokens" for side in sides} | {f"{side}_segment_ids" for side in sides}
        if self.classifies(architecture):
            fields |= {"sequence_labels"}
        else:
            fields |= {"decoder_target_tokens", "decoder_loss_weights"}
        if has_one_row(architecture):
            fields |= {"decoder_bidirectional"}
        return BatchSpec(
            fields=frozenset(fields), encoder_length=encoder_length, decoder_length=decoder_length
        )

    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return (encoder, decoder) lengths of the batch fields.

        Raises:
          ConfigError: if they leave no room for a token, or a packed row has several pairs to classify.
        """
        if has_one_row(architecture):
            # Every token of a row is an input but the last, and a target but the first.
            return 0, self.inputs_length + self.targets_length - 1
        if not self.classifies(architecture):
            return self.inputs_length, self.targets_length
        if self.pack:
            raise ConfigError("an encoder-only model classifies a row as a whole; set data.pack=False")
        if self.inputs_length < 3:
            raise ConfigError(f"inputs_length={self.inputs_length} must be at least 3: [CLS], a token, [SEP]")
        return self.inputs_length, 0


class PairExamples(Examples):
    """Row ``i`` is usable pair ``i``, or row ``i`` of the packing plan.

    An encoder-decoder reads the inputs and writes the targets, both ended by EOS; its decoder starts with
    ``start_id``. Where the vocabulary has a frame of its own, inputs stand in that (T5Gemma's behind BOS,
    without EOS), unless ``config.frame`` says "eos". A decoder-only model has them in one row, inputs EOS
    targets EOS, with loss on the targets only, their EOS included (as seqio's ``PrefixLMFeatureConverter``;
    whether inputs see each other is the model's ``prefix_attention``).

    ``report`` says how many pairs were truncated and dropped and which share of the positions holds tokens.

    Raises:
      DataError: if no pair is usable.
      ConfigError: if the vocabulary has no EOS to end them.
    """

    def __init__(
        self,
        config: PairsDataConfig,
        store: PairStore,
        *,
        architecture: str,
        start_id: int = PAD_ID,
    ):
        self._config, self._store = config, store
        self.spec = config.batch_spec(architecture)
        self._one_row = has_one_row(architecture)
        self._start_id = start_id
        self.vocabulary: Vocabulary = self._store.vocabulary()
        self._eos_id = self.vocabulary.special_id("eos", needed_for="training on pairs")
        self._ended = Frame(after=(self._eos_id,))
        self._frame = self._ended if self._one_row else config.frame_of(self.vocabulary) or self._ended
        if config.inputs_length <= self._frame.size:
            raise ConfigError(
                f"inputs_length={config.inputs_length} has no room for a token beside the {self._frame.size} "
                f"that {self.vocabulary.path} puts around a text; use {self._frame.size + 1} or more"
            )
        self.max_epochs = config.max_epochs
        inputs_lengths = self._store.inputs.document_lengths + self._frame.size
        targets_lengths = self._store.targets.document_lengths + 1
        overlong = (inputs_lengths > config.inputs_length) | (targets_lengths > config.targets_length)
        dropped = overlong if config.overlong == "drop" else np.zeros_like(overlong)
        self._usable = np.flatnonzero(~dropped)
        if not len(self._usable):
            raise DataError(
                f"none of the {self._store.num_pairs} pairs of {config.store} fits inputs_length="
                f"{config.inputs_length}, targets_length={config.targets_length}; raise them or pass "
                "overlong=truncate"
            )
        inputs_lengths = np.minimum(inputs_lengths[self._usable], config.inputs_length)
        targets_lengths = np.minimum(targets_lengths[self._usable], config.targets_length)
        density = self._plan_rows(inputs_lengths, targets_lengths)
        self.report: dict[str, float] = {
            "pairs": self._store.num_pairs,
            "examples": self.num_examples,
            "truncated": int((overlong & ~dropped).sum()),
            "dropped": int(dropped.sum()),
            **density,
        }

    def _plan_rows(self, inputs_lengths: np.ndarray, targets_lengths: np.ndarray) -> dict[str, float]:
        """Decide which pairs share a row; return the share of the positions that hold tokens."""
        lengths = {
            "inputs_density": (inputs_lengths, self.spec.encoder_length),
            "targets_density": (targets_lengths, self.spec.decoder_length),
        }
        if self._one_row:
            lengths = {"density": (inputs_lengths + targets_lengths - 1, self.spec.decoder_length)}
        self._plan: PackingPlan | None = None
        if self._config.pack:
            sides = list(lengths.values())  # of a single one, both
            self._plan = kept_plan(
                sides[0][0], sides[-1][0], inputs_length=sides[0][1], targets_length=sides[-1][1]
            )
        self.num_examples = self._plan.num_rows if self._plan else len(self._usable)
        return {
            name: float(side.sum() / (self.num_examples * length)) for name, (side, length) in lengths.items()
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        return self._one_row_fields(indices) if self._one_row else self._two_sided_fields(indices)

    def _rows(self, indices: np.ndarray) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """Return the (inputs, targets) of the pairs of each row, read all at once."""
        members = [
            self._usable[[index] if self._plan is None else self._plan.row(index)]
            for index in indices.tolist()
        ]
        pairs = np.concatenate(members)
        sides = zip(self._store.inputs.documents(pairs), self._store.targets.documents(pairs), strict=True)
        return [list(itertools.islice(sides, len(row))) for row in members]

    def _two_sided_fields(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        encoder = _Side(len(indices), self.spec.encoder_length, self._start_id)
        decoder = _Side(len(indices), self.spec.decoder_length, self._start_id)
        for row, pairs in enumerate(self._rows(indices)):
            for inputs, targets in pairs:
                encoder.append(row, inputs, self._frame)
                decoder.append(row, targets, self._ended)
        return {
            "encoder_input_tokens": encoder.tokens,
            "decoder_input_tokens": decoder.shifted,
            "decoder_target_tokens": decoder.tokens,
            "decoder_loss_weights": (decoder.segment_ids > 0).astype(np.float32),
            "encoder_segment_ids": encoder.segment_ids,
            "decoder_segment_ids": decoder.segment_ids,
        }

    def _one_row_fields(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        shape = (len(indices), self.spec.decoder_length)
        inputs_BL, targets_BL, segment_ids_BL, given_BL = (np.zeros(shape, np.int32) for _ in range(4))
        weights_BL = np.zeros(shape, np.float32)
        eos = np.array([self._eos_id], np.int32)
        for row, pairs in enumerate(self._rows(indices)):
            start = 0
            for segment, (inputs, targets) in enumerate(pairs, start=1):
                given = inputs[: self._config.inputs_length - 1]
                wanted = targets[: self._config.targets_length - 1]
                tokens = np.concatenate([given, eos, wanted, eos])
                end = start + len(tokens) - 1
                inputs_BL[row, start:end], targets_BL[row, start:end] = tokens[:-1], tokens[1:]
                segment_ids_BL[row, start:end] = segment
                weights_BL[row, end - len(wanted) - 1 : end] = 1
                given_BL[row, start : end - len(wanted)] = 1
                start = end
        return {
            "decoder_input_tokens": inputs_BL,
            "decoder_target_tokens": targets_BL,
            "decoder_loss_weights": weights_BL,
            "decoder_segment_ids": segment_ids_BL,
            "decoder_bidirectional": given_BL,
        }


def frames_differ(architecture: str, vocabulary: Vocabulary) -> bool:
    """Whether ``PairsDataConfig.frame`` decides about anything: in a model's inputs, with a vocabulary."""
    own = vocabulary.own_frame
    reads_framed = len(SIDES_OF[architecture]) > 1
    return reads_framed and own is not None and (own.before, own.after) != ((), (vocabulary.eos_id,))


class _Side:
    """The rows of one side of a batch while they are filled."""

    def __init__(self, rows: int, length: int, start_id: int):
        self.tokens = np.zeros((rows, length), np.int32)
        self.shifted = np.zeros((rows, length), np.int32)
        self.segment_ids = np.zeros((rows, length), np.int32)
        self._start_id = start_id
        self._used = [0] * rows
        self._segments = [0] * rows

    def append(self, row: int, document: np.ndarray, frame: Frame) -> None:
        """Put a document in its frame behind what stands in ``row``, cut to the row's length."""
        start = self._used[row]
        framed = frame.around(document, self.tokens.shape[1])
        end = start + len(framed)
        self._segments[row] += 1
        self.tokens[row, start:end] = framed
        self.shifted[row, start] = self._start_id
        self.shifted[row, start + 1 : end] = framed[:-1]
        self.segment_ids[row, start:end] = self._segments[row]
        self._used[row] = end
