"""What training data looks like: lengths, how full rows are, decoded examples, and how fast batches come."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.core.batch_fields import BATCH_FIELDS, ROW_LABELS, SEGMENT_IDS, SIDES
from t5lite.data.batch_stream import BatchStream
from t5lite.data.pipeline import SourceDataConfig
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.stores.unknown_tokens import UnknownTokens
from t5lite.data.vocabulary import Vocabulary

_STRETCHES, _STRETCH = 64, 1 << 18
"""Documents whose lengths are looked at: so many stretches, evenly spread, of so many neighbours; hence all
of a store of up to 16 million documents."""
_PERCENTILES = (1, 10, 50, 90, 99)
_SHOWN_TOKENS = 160


@dataclass(frozen=True)
class Lengths:
    """Lengths of the documents of a store, in tokens.

    Attributes:
      name: what they are of.
      limit: the tokens that fit a row; 0 where documents have no row of their own.
      sample: int64, of documents spread evenly over the store; of all, unless they are very many.
      num_documents: of the store.
      num_tokens: of the store.
      unknown: unknown tokens of the store; None where they were not counted.
    """

    name: str
    limit: int
    sample: np.ndarray
    num_documents: int
    num_tokens: int
    unknown: UnknownTokens | None

    def spread(self) -> dict[str, int]:
        """Return the shortest length, percentiles, and the longest, by name."""
        levels = np.percentile(self.sample, _PERCENTILES, method="lower")
        between = {f"{level}%": int(length) for level, length in zip(_PERCENTILES, levels, strict=True)}
        return {"shortest": int(self.sample.min()), **between, "longest": int(self.sample.max())}

    def histogram(self) -> list[tuple[int, int, float]]:
        """Return (shortest, longest, share of the documents), a bin for each power of two."""
        bins = np.floor(np.log2(self.sample)).astype(int)
        shares = np.bincount(bins) / len(bins)
        return [
            (1 << power, (2 << power) - 1, float(shares[power])) for power in range(bins.min(), len(shares))
        ]

    @property
    def num_too_long(self) -> int:
        """Documents that exceed ``limit``, estimated from the sample."""
        return round(self.share_too_long * self.num_documents)

    @property
    def share_too_long(self) -> float:
        """Share of the documents that exceed ``limit``."""
        return float((self.sample > self.limit).mean()) if self.limit else 0.0


def document_lengths(config: SourceDataConfig, *, architecture: str, vocabulary: Vocabulary) -> list[Lengths]:
    """Return the lengths of the documents, or of the inputs and the targets, of a source's store.

    Args:
      config: of the source.
      architecture: of the model that reads them.
      vocabulary: of the store.

    Raises:
      DataError: if the store cannot be used.
    """
    limits = config.limits(architecture, vocabulary)
    return [_lengths(name, column, limits[name]) for name, column in config.columns().items()]


def _lengths(name: str, store: TokenStore, limit: int) -> Lengths:
    count = store.num_documents
    starts = np.unique(np.arange(_STRETCHES) * max(count - _STRETCH, 0) // (_STRETCHES - 1))
    if count <= _STRETCHES * _STRETCH:  # side by side, the last one cut
        starts = np.arange(0, count, _STRETCH)
    stretches = []
    for start in starts.tolist():
        ends = store.document_ends(max(start - 1, 0), min(start + _STRETCH, count))
        stretches.append(np.diff(ends, prepend=[0] if start == 0 else []))
    return Lengths(name, limit, np.concatenate(stretches), count, store.num_tokens, store.unknown)


@dataclass(frozen=True)
class Rows:
    """What the rows of some batches hold.

    Attributes:
      filled: by side ("encoder", "decoder"), the share of the positions that are not padding.
      trained: by side, the share of the positions whose loss counts.
      segments: examples a row, on average.
      shares: of a mixture, the share of each source in the rows.
      batches_a_second: after the first one.
      first_batch_seconds: until the first one was there.
      tokens_a_second: positions that are not padding, of both sides.
      skipped: rows that are blank for damage.
    """

    filled: dict[str, float]
    trained: dict[str, float]
    segments: float
    shares: dict[str, float]
    batches_a_second: float
    first_batch_seconds: float
    tokens_a_second: float
    skipped: int


def measure_rows(stream: BatchStream, *, batch_size: int, num_batches: int, num_workers: int = 0) -> Rows:
    """Return what the first ``num_batches`` batches hold, and how fast they came."""
    available = stream.num_steps(batch_size)
    num_batches = num_batches if available is None else max(min(num_batches, available), 1)
    begin = first = time.perf_counter()
    batches = []
    for batch in stream.batches(batch_size=batch_size, num_steps=num_batches, num_workers=num_workers):
        batches.append(batch)
        first = time.perf_counter() if len(batches) == 1 else first
    seconds = time.perf_counter() - first
    filled, trained, tokens, num_rows = {}, {}, 0, batch_size * num_batches
    for side in SIDES:
        if stream.spec.lengths[side]:
            present = np.concatenate([_present(batch, side) for batch in batches])
            filled[side] = float(present.mean())
            tokens += int(present.sum())
            if f"{side}_loss_weights" in batches[0]:
                weights = np.concatenate([batch[f"{side}_loss_weights"] for batch in batches])
                trained[side] = float((weights > 0).mean())
    segment_fields = [name for name in SEGMENT_IDS if name in batches[0]]
    segments = (
        [batch[segment_fields[-1]].max(axis=1) for batch in batches] if segment_fields else [np.ones(1)]
    )
    return Rows(
        filled=filled,
        trained=trained,
        segments=float(np.concatenate(segments).mean()),
        shares={name: count / num_rows for name, count in stream.counts(num_rows).items()},
        batches_a_second=(num_batches - 1) / seconds if num_batches > 1 else 0.0,
        first_batch_seconds=first - begin,
        tokens_a_second=tokens * (num_batches - 1) / num_batches / seconds if num_batches > 1 else 0.0,
        skipped=sum(stream.skipped.values()),
    )


def _present(batch: Mapping[str, np.ndarray], side: str) -> np.ndarray:
    segments = batch.get(f"{side}_segment_ids")
    return np.ones(batch[f"{side}_input_tokens"].shape, bool) if segments is None else segments > 0


def decoded_examples(fields: Mapping[str, np.ndarray], vocabulary: Vocabulary) -> list[dict[str, str]]:
    """Return the text of one row, a dict from part to text for each example packed into it.

    Args:
      fields: of one row, without the batch axis.
      vocabulary: of the tokens.
    """
    segment_fields = [name for name in SEGMENT_IDS if name in fields]
    count = max([int(fields[name].max()) for name in segment_fields], default=1)
    return [_decoded(fields, vocabulary, segment) for segment in range(1, count + 1)]


def _decoded(fields: Mapping[str, np.ndarray], vocabulary: Vocabulary, segment: int) -> dict[str, str]:
    def part(name: str, *, chosen: np.ndarray | None = None) -> np.ndarray:
        segments = fields.get(f"{BATCH_FIELDS[name].side}_segment_ids")
        inside = np.ones(fields[name].shape, bool) if segments is None else segments == segment
        return fields[name][inside if chosen is None else inside & chosen]

    shown: dict[str, str] = {}
    if "encoder_input_tokens" in fields:
        shown["inputs"] = _text(part("encoder_input_tokens"), vocabulary)
    if "encoder_target_tokens" in fields:
        asked = fields["encoder_loss_weights"] > 0
        shown["asked for"] = " · ".join(
            vocabulary.decode([token])
            for token in part("encoder_target_tokens", chosen=asked)[:_SHOWN_TOKENS]
        )
    if "decoder_target_tokens" in fields:
        counts = fields["decoder_loss_weights"] > 0
        if "encoder_input_tokens" not in fields and not part("decoder_loss_weights").all():
            shown["given"] = _text(part("decoder_input_tokens", chosen=~counts), vocabulary)
        shown["targets"] = _text(part("decoder_target_tokens", chosen=counts), vocabulary)
    for name in sorted(ROW_LABELS & fields.keys()):
        shown[name.replace("_", " ")] = " ".join(f"{number:g}" for number in fields[name].flat)
    return {name: text for name, text in shown.items() if text}


def _text(tokens: np.ndarray, vocabulary: Vocabulary) -> str:
    more = "" if len(tokens) <= _SHOWN_TOKENS else f" … ({len(tokens) - _SHOWN_TOKENS:,} tokens more)"
    return vocabulary.decode(tokens[:_SHOWN_TOKENS]) + more


def rows_to_show(stream: BatchStream, count: int) -> Sequence[tuple[str, dict[str, np.ndarray]]]:
    """Return (source, fields of one row) of the first ``count`` rows of each source that training sees."""
    rows = []
    for name, places in stream.first_rows(count).items():
        fields = stream.rows(places)
        rows += [(name, {key: field[row] for key, field in fields.items()}) for row in range(count)]
    return rows
