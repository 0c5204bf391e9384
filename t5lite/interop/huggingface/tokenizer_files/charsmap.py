"""SentencePiece's character normalisation: the rules in its compiled form, and the same rules said exactly.

SentencePiece applies, from left to right, the longest rule that fits. The ``Precompiled`` normalizer of
``tokenizers`` reads the same compiled rules, but goes by grapheme clusters, takes the shortest rule, and
drops what follows it in a cluster: it deviates wherever combining marks, decomposed Hangul or emoji sequences
are. It is exact for one character at a time. So ``normalizers`` sets marks between the characters, lets it
replace single ones, and leaves the rules of several characters (all compose what was decomposed) to NFC, with
marks left standing where SentencePiece ends a rule and NFC would go on.
"""

import base64
import functools
import struct
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from t5lite.core.errors import DataError

_LEAD = "\ufdd0"
"""A noncharacter; the private character after it says what the two stand for."""
_ITSELF, _RULE_ENDS, _APART = (_LEAD + chr(0xF0000 + i) for i in range(3))
_FIRST_SYMBOL = 0xF0003
_COMPOSED_LATELY = frozenset(
    map(
        chr,
        [
            *(0x105C9, 0x105E4, 0x11383, 0x11385, 0x1138E, 0x11391, 0x113C5, 0x113C7, 0x113C8, 0x11938),
            *range(0x16121, 0x16129),
            *range(0x16D68, 0x16D6B),
        ],
    )
)
"""Characters of Unicode 13 to 16 that NFC composes, and the older NFC of ``tokenizers`` does not."""
_JOINING = (
    *("\n", "\u200c", "\u200d", "\uff9e", "\uff9f"),
    *map(chr, range(0x1160, 0x1200)),  # Hangul's vowels and final consonants
    *map(chr, range(0xD7B0, 0xD800)),
    *map(chr, range(0x1F3FB, 0x1F400)),  # skin tones
    *map(chr, range(0xE0020, 0xE0080)),  # tags
)
"""What may continue a grapheme cluster or be composed with what is before it, without being a mark."""
_DECOMPOSED = 0x30000
"""Below it lies all that Unicode decomposes."""
_MAX_EXPLICIT = 200
_ANY = r"[\s\S]"


@functools.lru_cache(maxsize=8)
def normalizers(
    charsmap: bytes, protected: tuple[str, ...], symbols: tuple[str, ...]
) -> tuple[dict[str, Any], ...]:
    """Return what to write into tokenizer.json for a compiled character normalisation.

    Args:
      charsmap: SentencePiece's ``precompiled_charsmap``.
      protected: characters that it shall not touch; they come out as ``placeholder`` of their place.
      symbols: other stretches of text at which a rule begins or ends, and which none changes.

    Raises:
      DataError: if some rule cannot be said so.
    """
    rules = read_rules(charsmap)
    sequences = {key: value for key, value in rules.items() if len(key) > 1}
    follows = _follows(rules)
    ends = (
        rf"(?={_ANY}{follows})(?>{_pattern(_trie(sequences))}|{_ANY})"
        if sequences
        else rf"{_ANY}(?={follows})"
    )
    for symbol in sorted(symbols, key=len):
        ends = rf"(?>{literal(symbol)}|{ends})"
    composing = [
        replace_all(rf"(?:{'|'.join(map(literal, keys))})(?={literal(_RULE_ENDS)})", value)
        for value, keys in _explicit(rules, sequences).items()
    ]
    # Precompiled loses count of what it removes (tokenizers 0.23 then panics at the start of a text).
    removed = {key for key, value in rules.items() if not value}
    return (
        replace(_LEAD, _ITSELF),
        *(replace(char, placeholder(i)) for i, char in enumerate(protected)),
        replace_all(rf"{ends}\K", _RULE_ENDS),
        *composing,
        # Not at the start of a text, where tokenizers 0.23 inserts what it then cannot replace (a panic).
        replace_all(rf"(?<=[^{_RULE_ENDS[1]}])(?={follows})", _APART),
        *([replace_all(_class(removed), "")] if removed else []),
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
        replace(_APART, ""),
        *([{"type": "NFC"}] if sequences else []),
        replace(_RULE_ENDS, ""),
        replace(_ITSELF, _LEAD),
    )


def placeholder(place: int) -> str:
    """Return what stands for the protected character at a place, while the rules are applied."""
    return _LEAD + chr(_FIRST_SYMBOL + place)


def replace(text: str, content: str) -> dict[str, Any]:
    """Return the normalizer that replaces a string."""
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


def replace_all(pattern: str, content: str) -> dict[str, Any]:
    """Return the normalizer that replaces what a regular expression (Oniguruma's) matches."""
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def literal(text: str) -> str:
    """Return the regular expression that matches a string."""
    return "".join(f"\\x{{{ord(char):x}}}" for char in text)


@functools.lru_cache(maxsize=8)
def read_rules(charsmap: bytes) -> Mapping[str, str]:
    """Return the rules of a compiled normalisation: which string is replaced by which.

    It is the size of a trie (uint32), the trie as a double array of uint32 (Darts-clone's), and the
    replacements, each ended by a zero byte.
    """
    size = struct.unpack_from("<I", charsmap)[0]
    units = np.frombuffer(charsmap, "<u4", size // 4, 4)
    texts = charsmap[4 + size :]
    # A node's children lie at its base, xor their byte: so every unit tells the base of its parent.
    places = np.arange(len(units), dtype=np.uint32)
    bases = places ^ ((units >> 10) << ((units & 0x200) >> 6))
    nodes = np.flatnonzero((units >> 31 == 0) & (units & 0xFF != 0)).astype(np.uint32)
    parents = nodes ^ (units[nodes] & 0xFF)
    order = np.argsort(parents, kind="stable")
    nodes, parents = nodes[order], parents[order]
    steps = [bytes([byte]) for byte in range(256)]
    replacements: dict[int, str] = {}
    rules: dict[str, str] = {}
    level, keys = np.zeros(1, np.uint32), [b""]
    while len(level):  # all strings of one length, then those one byte longer
        first, last = (np.searchsorted(parents, bases[level], side) for side in ("left", "right"))
        counts = last - first
        above = np.repeat(np.arange(len(level)), counts)
        level = nodes[np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts - first, counts)]
        labels = (units[level] & 0xFF).tolist()
        keys = [keys[parent] + steps[label] for parent, label in zip(above.tolist(), labels, strict=True)]
        ends = np.flatnonzero(units[level] >> 8 & 1)
        values = units[bases[level[ends]]] & 0x7FFFFFFF
        for end, value in zip(ends.tolist(), values.tolist(), strict=True):
            if value not in replacements:
                replacements[value] = texts[value : texts.index(b"\0", value)].decode()
            rules[keys[end].decode()] = replacements[value]
    return rules


def apply(rules: Mapping[str, str], text: str) -> str:
    """Return ``text`` with the rules applied as SentencePiece does: from left to right, the longest first."""
    longest = max(map(len, rules), default=0)
    parts: list[str] = []
    place = 0
    while place < len(text):
        found = (text[place : place + size] for size in range(longest, 0, -1))
        key = next((key for key in found if key in rules), text[place])
        parts.append(rules.get(key, key))
        place += len(key)
    return "".join(parts)


def _follows(rules: Mapping[str, str]) -> str:
    """Return the class of characters before which a mark is set: all that may belong to what is before."""
    follows = {char for key in rules for char in key[1:]} | set(_JOINING)
    begins = {key for key, value in rules.items() if len(key) == 1 and value[:1] in follows}
    marks = {key for key, value in rules.items() if value and unicodedata.category(value[0])[0] == "M"}
    return _class(follows | begins | {key for key in marks if len(key) == 1}, r"\p{M}")


def _explicit(rules: Mapping[str, str], sequences: Mapping[str, str]) -> dict[str, list[str]]:
    """Return, by replacement, the rules of several characters that NFC does not say, the longest first.

    Raises:
      DataError: if there are too many, or NFC changes what no rule does.
    """
    if not sequences:
        return {}
    characters = (chr(code) for code in range(_DECOMPOSED) if not 0xD800 <= code < 0xE000)
    singles = _composed(rules, (char for char in characters if char != _LEAD))
    changed = [text for text, composed in singles if text != composed]
    explicit: dict[str, list[str]] = defaultdict(list)
    keys = sorted(sequences, key=len, reverse=True)
    for key, (_, composed) in zip(keys, _composed(rules, keys), strict=True):
        value = sequences[key]
        if composed != value or not _COMPOSED_LATELY.isdisjoint(value):
            explicit[value].append(key)
            changed += [char for char in value if rules.get(char, char) != char]
    if changed:
        raise DataError(f"it has rules of several characters and leaves {changed[0]!a}, which NFC changes")
    if len(explicit) > _MAX_EXPLICIT:
        raise DataError(f"it has rules for {len(explicit)} replacements that NFC would not make")
    return explicit


def _composed(rules: Mapping[str, str], keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each key after the rules of its single characters, and after NFC as well."""
    table = {ord(key): value for key, value in rules.items() if len(key) == 1}
    single = _LEAD.join(keys).translate(table)
    return zip(single.split(_LEAD), unicodedata.normalize("NFC", single).split(_LEAD), strict=True)


class _Trie:
    """Keys by their characters but the last; of the last ones, only the set."""

    def __init__(self) -> None:
        self.children: defaultdict[str, _Trie] = defaultdict(_Trie)
        self.last: set[str] = set()


def _trie(keys: Iterable[str]) -> _Trie:
    last = defaultdict(set)
    for key in keys:
        last[key[:-1]].add(key[-1])
    root = _Trie()
    for prefix, chars in last.items():
        node = root
        for char in prefix:
            node = node.children[char]
        node.last = chars
    return root


def _pattern(node: _Trie) -> str:
    """Return what matches the longest key; characters that go on alike share a class."""
    alike: dict[str, set[str]] = defaultdict(set)
    for char, following in node.children.items():
        alike[_pattern(following) + ("?" if char in node.last else "")].add(char)
    alike[""] = node.last - set(node.children)
    return f"(?:{'|'.join(_class(chars) + rest for rest, chars in alike.items() if chars)})"


def _class(chars: Iterable[str], other: str = "") -> str:
    """Return the regular expression for any of some characters."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, chars)):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    spans = (f"\\x{{{low:x}}}-\\x{{{high:x}}}" if high > low else f"\\x{{{low:x}}}" for low, high in ranges)
    return f"[{other}{''.join(spans)}]"
