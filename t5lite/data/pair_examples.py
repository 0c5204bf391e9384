"""Examples for fine-tuning: (inputs, targets) pairs, one a row with padding, or several by a packing plan."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.packing import PackingPlan, plan_packing
from t5lite.data.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class PairsDataConfig:
    """Pairs of a pair store."""

    store: str
    """Directory of a pair store, such as OUTPUT/train of `t5lite prepare`."""

    inputs_length: int = 512
    """Tokens of the encoder's input, EOS included."""

    targets_length: int = 128
    """Tokens of the decoder's target, EOS included."""

    pack: bool = False
    """Put several pairs in a row, apart by segment ids; otherwise each row is one padded pair."""

    overlong: Literal["truncate", "drop"] = "truncate"
    """Cut what does not fit (EOS stays), or leave the pair out."""

    max_epochs: int | None = None
    """Passes over the data, after which it ends; None repeats for ever."""

    def __post_init__(self):
        for name in ("inputs_length", "targets_length"):
            if getattr(self, name) < 2:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 2, a token and EOS")
        if self.max_epochs is not None and self.max_epochs < 1:
            raise ConfigError(f"max_epochs={self.max_epochs} must be at least 1, or None to repeat for ever")


class PairExamples:
    """Row ``i`` is usable pair ``i``, or row ``i`` of the packing plan.

    ``report`` says how many pairs were truncated and dropped and which share of the positions holds tokens.

    Raises:
      DataError: if no pair is usable.
    """

    def __init__(self, config: PairsDataConfig, *, vocabulary_fingerprint: str | None = None):
        self._store = PairStore.open(config.store, vocabulary_fingerprint)
        self.vocabulary: Vocabulary = self._store.vocabulary()
        self.encoder_length, self.decoder_length = config.inputs_length, config.targets_length
        self.max_epochs = config.max_epochs
        inputs_lengths = self._store.inputs.document_lengths + 1
        targets_lengths = self._store.targets.document_lengths + 1
        overlong = (inputs_lengths > self.encoder_length) | (targets_lengths > self.decoder_length)
        dropped = overlong if config.overlong == "drop" else np.zeros_like(overlong)
        self._usable = np.flatnonzero(~dropped)
        if not len(self._usable):
            raise DataError(
                f"none of the {self._store.num_pairs} pairs of {config.store} fits inputs_length="
                f"{config.inputs_length}, targets_length={config.targets_length}; raise them or pass "
                "overlong=truncate"
            )
        inputs_lengths = np.minimum(inputs_lengths[self._usable], self.encoder_length)
        targets_lengths = np.minimum(targets_lengths[self._usable], self.decoder_length)
        self._plan: PackingPlan | None = None
        if config.pack:
            self._plan = plan_packing(
                inputs_lengths,
                targets_lengths,
                inputs_length=self.encoder_length,
                targets_length=self.decoder_length,
            )
        self.num_examples = self._plan.num_rows if self._plan else len(self._usable)
        self.report: dict[str, float] = {
            "pairs": self._store.num_pairs,
            "examples": self.num_examples,
            "truncated": int((overlong & ~dropped).sum()),
            "dropped": int(dropped.sum()),
            "inputs_density": float(inputs_lengths.sum() / (self.num_examples * self.encoder_length)),
            "targets_density": float(targets_lengths.sum() / (self.num_examples * self.decoder_length)),
        }

    def fields(
        self, indices: np.ndarray, *, noise_key: np.ndarray, noise_indices: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Return the batch fields of rows ``indices``; there is no noise to draw."""
        del noise_key, noise_indices
        encoder = _Side(len(indices), self.encoder_length)
        decoder = _Side(len(indices), self.decoder_length)
        for row, index in enumerate(indices.tolist()):
            members = [index] if self._plan is None else self._plan.row(index)
            for pair in self._usable[members].tolist():
                encoder.append(row, self._store.inputs.document(pair), self.vocabulary.eos_id)
                decoder.append(row, self._store.targets.document(pair), self.vocabulary.eos_id)
        return {
            "encoder_input_tokens": encoder.tokens,
            "decoder_input_tokens": decoder.shifted,
            "decoder_target_tokens": decoder.tokens,
            "decoder_loss_weights": (decoder.segment_ids > 0).astype(np.float32),
            "encoder_segment_ids": encoder.segment_ids,
            "decoder_segment_ids": decoder.segment_ids,
        }


class _Side:
    """The rows of one side of a batch while they are filled."""

    def __init__(self, rows: int, length: int):
        self.tokens = np.zeros((rows, length), np.int32)
        self.shifted = np.zeros((rows, length), np.int32)
        self.segment_ids = np.zeros((rows, length), np.int32)
        self._used = [0] * rows
        self._segments = [0] * rows

    def append(self, row: int, document: np.ndarray, eos_id: int) -> None:
        """Put a document and EOS behind what stands in ``row``, cut to the row's length."""
        start = self._used[row]
        body = document[: self.tokens.shape[1] - 1]
        end = start + len(body)
        self._segments[row] += 1
        self.tokens[row, start:end] = body
        self.tokens[row, end] = eos_id
        self.shifted[row, start + 1 : end + 1] = body
        self.segment_ids[row, start : end + 1] = self._segments[row]
        self._used[row] = end + 1
