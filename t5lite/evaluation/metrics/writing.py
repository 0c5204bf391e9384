"""How texts are written, by their letters: what a word is to a metric depends on it."""

import bisect
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Writing:
    """A way of writing.

    Attributes:
      name: of the script, or of the language where that is what its letters tell.
      has_spaces: whether words are divided by spaces.
    """

    name: str
    has_spaces: bool = True


LATIN, OTHER = Writing("Latin"), Writing("other")
CHINESE, JAPANESE, KOREAN = (
    Writing("Chinese", has_spaces=False),
    Writing("Japanese", has_spaces=False),
    Writing("Korean"),
)
UNSPACED = Writing("unspaced", has_spaces=False)
"""Thai, Lao, Tibetan, Burmese, Khmer."""
_KANA = Writing("Kana")
_BLOCKS = (
    (0x0E00, 0x0EFF, UNSPACED),
    (0x0F00, 0x109F, UNSPACED),
    (0x1100, 0x11FF, KOREAN),
    (0x1780, 0x17FF, UNSPACED),
    (0x3005, 0x3007, CHINESE),
    (0x3040, 0x30FF, _KANA),
    (0x3130, 0x318F, KOREAN),
    (0x31F0, 0x31FF, _KANA),
    (0x3400, 0x9FFF, CHINESE),
    (0xAC00, 0xD7AF, KOREAN),
    (0xF900, 0xFAFF, CHINESE),
    (0xFF66, 0xFF9D, _KANA),
    (0x20000, 0x3FFFF, CHINESE),
)
"""First and last code point of what is neither Latin nor divided into words as Latin is."""
_LEAST_KANA = 0.1
"""Share of kana in Chinese and Japanese letters above which they are Japanese; a Chinese text may have の."""


def writing_of(texts: Iterable[str]) -> Writing:
    """Return how most letters of the texts are written; ``LATIN`` where there is none."""
    letters: Counter[Writing] = Counter()
    for character, count in Counter(character for text in texts for character in text).items():
        if character.isalpha() or unicodedata.category(character) in ("Mn", "Mc"):
            letters[_writing(character)] += count
    kana, han = letters.pop(_KANA, 0), letters.pop(CHINESE, 0)
    letters[JAPANESE if kana > _LEAST_KANA * (kana + han) else CHINESE] = kana + han
    most, count = letters.most_common(1)[0]
    return most if count else LATIN


def _writing(character: str) -> Writing:
    place = bisect.bisect_right(_BLOCKS, ord(character), key=lambda block: block[0]) - 1
    if place >= 0 and ord(character) <= _BLOCKS[place][1]:
        return _BLOCKS[place][2]
    return LATIN if unicodedata.name(character, "").startswith(("LATIN", "COMBINING")) else OTHER


def spaced_words(text: str, writing: Writing) -> str:
    """Return the text as it is, or with every letter a word of its own where no space divides words."""
    if writing.has_spaces:
        return text
    return "".join(f" {each} " if _is_unspaced(each) else each for each in text)


def _is_unspaced(character: str) -> bool:
    return ord(character) >= _BLOCKS[0][0] and (
        (writing := _writing(character)) is _KANA or not writing.has_spaces
    )
