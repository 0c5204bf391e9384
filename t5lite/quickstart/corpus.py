"""The embedded text, its leak-free held-out split, and the tasks made of it.

Nothing here depends on a seed: which text is held out, and the order in which few-label experiments
take their examples, follow from hashes of the text. So every run, on every machine, is measured on
the same held-out examples.
"""

import hashlib
import json
import lzma
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal, NamedTuple

from t5lite.core.errors import ConfigError

TRANSLATION_PREFIX = "translate English to Spanish: "
CLASSIFICATION_PREFIX = "novel: "


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of a novel by Jane Austen."""

    title: str
    text: str


@dataclass(frozen=True)
class Verse:
    """One verse of the Old (``ot``) or New (``nt``) Testament in both languages."""

    testament: Literal["ot", "nt"]
    english: str
    spanish: str


@dataclass(frozen=True)
class Corpus:
    """One side of the split, in the order of the books."""

    paragraphs: tuple[Paragraph, ...]
    verses: tuple[Verse, ...]


class CorpusSplit(NamedTuple):
    """The two sides; no text stands on both."""

    train: Corpus
    heldout: Corpus


class Pair(NamedTuple):
    """One fine-tuning example."""

    inputs: str
    targets: str


def _asset(name: str) -> str:
    content = (resources.files("t5lite.quickstart") / "assets" / name).read_bytes()
    return lzma.decompress(content).decode("utf-8")


def austen() -> list[Paragraph]:
    """Return the 9,846 paragraphs of Jane Austen's six novels, in the order of the books."""
    records = (json.loads(line) for line in _asset("austen_paragraphs.jsonl.xz").split("\n") if line)
    return [Paragraph(record["title"], record["text"]) for record in records]


def verses() -> list[Verse]:
    """Return the 31,076 aligned verses (World English Bible, Reina-Valera 1909), in canonical order."""
    fields = (line.split("\t") for line in _asset("bible_en_es.tsv.xz").split("\n") if line)
    return [
        Verse("ot" if testament == "ot" else "nt", english, spanish) for testament, english, spanish in fields
    ]


def normalize(text: str) -> str:
    """Return ``text`` as duplicates are compared: lower case, letters and digits only, single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _hash(text: str) -> int:
    """64 bits that are the same on every machine and in every process, unlike ``hash``."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def _is_heldout(key: str, fraction: float) -> bool:
    return _hash(f"held-out {key}") < fraction * 2**64


def verse_groups(verses: Sequence[Verse]) -> list[int]:
    """Return, for each verse, the index of the first verse of its group.

    Two verses are in one group if their English or their Spanish is the same text after
    ``normalize``, directly or through others: "Yahweh spoke to Moses, saying," stands 71 times, under
    several Spanish wordings, each of which translates other English verses.
    """
    parent = list(range(len(verses)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    first_seen: dict[tuple[str, str], int] = {}
    for index, verse in enumerate(verses):
        for text in (("english", normalize(verse.english)), ("spanish", normalize(verse.spanish))):
            low, high = sorted((root(first_seen.setdefault(text, index)), root(index)))
            parent[high] = low
    return [root(index) for index in range(len(verses))]


def split(
    paragraphs: Sequence[Paragraph],
    verses: Sequence[Verse],
    *,
    paragraph_fraction: float = 0.08,
    verse_fraction: float = 0.03,
) -> CorpusSplit:
    """Split both texts once, for pretraining and every task alike.

    A paragraph is placed by the hash of its normalised text, so repeats share a side. A verse is
    placed by the hash of its group (``verse_groups``): it is held out in both languages, with every
    verse that repeats it in either, from pretraining and from translation. What remains are free
    paraphrases (parallel passages of Kings and Chronicles, of the synoptic gospels), as in any
    evaluation on one work. Growing a fraction only adds to the held-out side.

    Raises:
      ConfigError: if a fraction is not strictly between 0 and 1.
    """
    for name, fraction in (("paragraph_fraction", paragraph_fraction), ("verse_fraction", verse_fraction)):
        if not 0 < fraction < 1:
            raise ConfigError(f"{name}={fraction} leaves one side of the split empty; use a value in (0, 1)")
    paragraph_heldout = [_is_heldout(normalize(item.text), paragraph_fraction) for item in paragraphs]
    verse_heldout = [
        _is_heldout(normalize(verses[group].english), verse_fraction) for group in verse_groups(verses)
    ]

    def side(heldout: bool) -> Corpus:
        return Corpus(
            tuple(item for item, flag in zip(paragraphs, paragraph_heldout, strict=True) if flag == heldout),
            tuple(item for item, flag in zip(verses, verse_heldout, strict=True) if flag == heldout),
        )

    return CorpusSplit(train=side(False), heldout=side(True))


def pretraining_texts(corpus: Corpus) -> list[str]:
    """Return one side's documents: its paragraphs, then its English, then its Spanish verses."""
    return [
        *(paragraph.text for paragraph in corpus.paragraphs),
        *(verse.english for verse in corpus.verses),
        *(verse.spanish for verse in corpus.verses),
    ]


def _in_hash_order(pairs: Iterable[Pair], limit: int | None) -> list[Pair]:
    """Shuffle by hash, so that the first n are a fair sample and smaller samples nest in larger ones."""
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit} takes no example; use 1 or more, or None for all")
    return sorted(pairs, key=lambda pair: (_hash(f"order {pair.inputs}"), pair))[:limit]


def translation_pairs(corpus: Corpus, *, limit: int | None = None) -> list[Pair]:
    """Return ``translate English to Spanish: <verse>`` → Spanish, in an order fixed by hashes.

    ``limit`` takes the first so many, for few-label experiments: a random sample of the side.
    """
    pairs = (Pair(TRANSLATION_PREFIX + verse.english, verse.spanish) for verse in corpus.verses)
    return _in_hash_order(pairs, limit)


def classification_pairs(
    corpus: Corpus, *, min_characters: int = 100, limit: int | None = None
) -> list[Pair]:
    """Return ``novel: <paragraph>`` → title, in an order fixed by hashes.

    The six classes keep their natural imbalance (Emma has about 23 %, Northanger Abbey 9 %), so
    accuracy must be read against the majority class. Names of characters stay in the text: knowing
    them is part of the task.

    Args:
      corpus: a side of the split.
      min_characters: paragraphs shorter than this are left out; most are retorts that fit any novel.
      limit: take the first so many, a random sample of the side.
    """
    pairs = (
        Pair(CLASSIFICATION_PREFIX + paragraph.text, paragraph.title)
        for paragraph in corpus.paragraphs
        if len(paragraph.text) >= min_characters
    )
    return _in_hash_order(pairs, limit)
