"""Which documents or pairs are held out of training, and writing both parts."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from t5lite.core.errors import DataError
from t5lite.data.file_counts import FileCounts
from t5lite.data.stores.store_sinks import PairSink, StoreCounts, TextSink

BATCH = 2048
"""Documents encoded at once: enough to keep SentencePiece's threads busy."""


class HeldoutSplit(Protocol):
    """Says which documents or pairs are held out."""

    is_by_chance: ClassVar[bool]
    """Whether nobody chose which."""

    @property
    def exists(self) -> bool:
        """Whether any are."""
        ...

    def holds_out(self, text: str, file: str) -> bool:
        """Return whether what has this text, in this file, is."""
        ...

    def nothing_left(self, store: str, num_empty: int = 0) -> str:
        """Return what to say where nothing is left for one of the stores, but some for the other.

        ``num_empty`` were dropped because they had no tokens.
        """
        ...


@dataclass(frozen=True)
class SplitByHash:
    """Holds out a share of the texts, by a hash: copies of a text are on one side."""

    fraction: float
    is_by_chance: ClassVar[bool] = True

    @property
    def exists(self) -> bool:
        """Whether the share is not 0."""
        return self.fraction > 0

    def holds_out(self, text: str, file: str) -> bool:
        """Return whether the text belongs to the share."""
        return is_heldout(text, self.fraction)

    def nothing_left(self, store: str, num_empty: int = 0) -> str:
        """Return what to say of the share."""
        return nothing_left(store, self.fraction, num_empty)


@dataclass(frozen=True)
class SplitByFile:
    """Holds out what is in some of the files."""

    heldout_files: frozenset[str]
    is_by_chance: ClassVar[bool] = False

    @property
    def exists(self) -> bool:
        """Whether there are any."""
        return bool(self.heldout_files)

    def holds_out(self, text: str, file: str) -> bool:
        """Return whether the file is one of them."""
        return file in self.heldout_files

    def nothing_left(self, store: str, num_empty: int = 0) -> str:
        """Return what to say of the files."""
        files = ", ".join(sorted(self.heldout_files)[:3])
        which = f"the files that are held out ({files})" if store == "heldout" else "the other files"
        return f"nothing was left for the '{store}' store: {which} have no pair with tokens on both sides"


def is_heldout(text: str, fraction: float) -> bool:
    """Return whether ``text`` belongs to the held-out ``fraction``; spacing does not matter."""
    digest = hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * 2**64


def nothing_left(store: str, heldout_fraction: float, num_empty: int = 0) -> str:
    """Return what to say where no text is left for one of the stores, but some for the other."""
    empty = f" ({num_empty:,} without tokens dropped)" if num_empty else ""
    return (
        f"nothing was left for the '{store}' store at heldout_fraction={heldout_fraction}{empty}; use "
        "--heldout-fraction 0, which keeps none back, or give more text"
    )


def write_split(
    items: Iterator[tuple[Any, bool, str]],
    directory: Path,
    split: HeldoutSplit,
    *,
    open_sink: Callable[[ExitStack, Path], TextSink | PairSink],
    file_counts: FileCounts,
) -> dict[str, StoreCounts]:
    """Write (item, whether it is held out, its file) to ``train`` and ``heldout`` under ``directory``.

    Args:
      items: texts or pairs.
      directory: of both stores.
      split: says whether there is to be a store of what is held out.
      open_sink: opens a store.
      file_counts: is told of which file the tokens are.

    Raises:
      DataError: if nothing is left for one of the stores.
    """
    names = {False: "train", True: "heldout"} if split.exists else {False: "train"}
    with ExitStack() as stack:
        sinks = {heldout: open_sink(stack, directory / name) for heldout, name in names.items()}
        while batch := list(itertools.islice(items, BATCH)):
            for heldout, sink in sinks.items():
                chosen = [(item, path) for item, is_heldout, path in batch if is_heldout == heldout]
                counts = sink.add([item for item, _ in chosen])
                file_counts.add([path for _, path in chosen], counts)
        for sink in sinks.values():
            sink.finish()
        found = {names[heldout]: sink.counts for heldout, sink in sinks.items()}
        if not any(counts.examples for counts in found.values()):
            num_empty = sum(counts.dropped_empty for counts in found.values())
            raise DataError(
                f"none of the {num_empty:,} texts or pairs has tokens (a pair needs some on both sides); "
                "check the inputs and the fields that are read"
            )
        for name, counts in found.items():
            if not counts.examples:
                raise DataError(split.nothing_left(name, counts.dropped_empty))
        return found
