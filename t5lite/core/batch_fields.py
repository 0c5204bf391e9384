"""Every field that a batch may have: its axes, its dtype and what stands where nothing is.

``core.types`` says what they mean. Whatever makes rows, pads them, compiles for them or reads them asks here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

Side: TypeAlias = Literal["encoder", "decoder"]
"""The stack whose positions a field has."""
SIDES: tuple[Side, ...] = ("encoder", "decoder")

NO_LABEL = -1
"""The label of a row that has none: it does not count."""
NO_NUMBER = float("nan")
"""The number of a row that has none."""


@dataclass(frozen=True)
class BatchField:
    """One field of a batch."""

    side: Side | None
    """Whose length its rows have; None: a number a row, or a few."""
    dtype: Literal["int32", "float32"] = "int32"
    absent: float = 0
    """The value where nothing is, in padding or in a blank row."""
    several: int | None = None
    """Numbers a row of a field without a side; None: a single one, which has no axis."""

    def shape(self, batch_size: int, lengths: Mapping[Side, int]) -> tuple[int, ...]:
        """Return the shape in a batch whose sides have ``lengths``."""
        if self.side is not None:
            return (batch_size, lengths[self.side])
        return (batch_size,) if self.several is None else (batch_size, self.several)


def _of_side(side: Side) -> dict[str, BatchField]:
    return {
        f"{side}_input_tokens": BatchField(side),
        f"{side}_target_tokens": BatchField(side),
        f"{side}_loss_weights": BatchField(side, "float32"),
        f"{side}_segment_ids": BatchField(side),
    }


MARKS: dict[str, BatchField] = {
    "encoder_token_types": BatchField("encoder"),
    "decoder_bidirectional": BatchField("decoder"),
}
"""Fields that say more of a token; a batch may do without."""
BATCH_FIELDS: dict[str, BatchField] = {
    **_of_side("encoder"),
    **_of_side("decoder"),
    **MARKS,
    "sequence_labels": BatchField(None, absent=NO_LABEL),
    "sequence_numbers": BatchField(None, "float32", absent=NO_NUMBER),
    "text_numbers": BatchField(None, absent=NO_LABEL, several=2),
    "negative_numbers": BatchField(None, absent=NO_LABEL),
    "span_positions": BatchField(None, absent=NO_LABEL, several=2),
}
"""All fields by name."""

ROW_LABELS = {name for name, field in BATCH_FIELDS.items() if field.side is None}
"""Fields with a label or number a row, or a few: a negative label does not count, nor one that is none."""
COUNTING = ROW_LABELS | {f"{side}_loss_weights" for side in SIDES}
"""Fields that say what counts: where all of a row's are absent, the row does not."""
_OF_FURTHER_TEXTS = {"text_numbers", "negative_numbers"}
"""Fields of rows that have one more text each, which is encoded apart from the others."""
SEGMENT_IDS: dict[str, Side] = {f"{side}_segment_ids": side for side in SIDES}
"""Fields that tell padding and packed examples apart, with their sides."""


@dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """The fields that rows have, and how long each side of them is."""

    fields: frozenset[str]
    """Keys of ``BATCH_FIELDS``."""
    encoder_length: int = 0
    """0 where there are no fields of the encoder's."""
    decoder_length: int = 0
    """0 where there are no fields of the decoder's."""

    @property
    def lengths(self) -> dict[Side, int]:
        """The length of each side."""
        return {"encoder": self.encoder_length, "decoder": self.decoder_length}

    @property
    def texts_apart(self) -> int:
        """Texts of a row that are encoded apart, each in its part of ``encoder_length``; 1 of most rows."""
        return 1 + len(self.fields & _OF_FURTHER_TEXTS)

    def read(self, batch_size: int) -> dict[str, int]:
        """Return what stacks read of a batch: ``batch_size`` sequences, of which lengths."""
        return {
            "batch_size": batch_size * self.texts_apart,
            "encoder_length": self.encoder_length // self.texts_apart,
            "decoder_length": self.decoder_length,
        }

    def shapes(self, batch_size: int) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return (shape, dtype) of each field of a batch."""
        fields = {name: BATCH_FIELDS[name] for name in sorted(self.fields)}
        return {name: (field.shape(batch_size, self.lengths), field.dtype) for name, field in fields.items()}

    def blank(self, rows: int) -> dict[str, np.ndarray]:
        """Return rows in which nothing is there and nothing counts."""
        return {
            name: np.full(shape, BATCH_FIELDS[name].absent, dtype)
            for name, (shape, dtype) in self.shapes(rows).items()
        }

    @classmethod
    def covering(cls, specs: Iterable["BatchSpec"]) -> "BatchSpec":
        """Return what holds the rows of all: the longest of them, and padding that says so."""
        specs = list(specs)
        fields = frozenset[str]().union(*(spec.fields for spec in specs))
        lengths: dict[Side, int] = {side: max(spec.lengths[side] for spec in specs) for side in SIDES}
        padded = any(spec.lengths != lengths for spec in specs)
        if padded or not fields.isdisjoint(SEGMENT_IDS):
            fields |= {name for name, side in SEGMENT_IDS.items() if lengths[side]}
        return cls(fields=fields, encoder_length=lengths["encoder"], decoder_length=lengths["decoder"])
