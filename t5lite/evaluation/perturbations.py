"""Inputs as people also write them: with typing errors, without capitals, in capitals alone.

What befalls a text depends on the text and the number of its example alone, so that every model is given the
same. What all inputs begin with, such as a task's prefix, stays as it is.
"""

import itertools
import random
import re
from collections.abc import Callable, Mapping, Sequence

_SHARE_OF_WORDS = 0.1
_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[^\W\d_]{2,}")


def perturbed(inputs: Sequence[str], change: Callable[[str, random.Random], str]) -> list[str]:
    """Return the inputs with the change made to each, but for the words that all of them begin with."""
    first, last = (min(inputs), max(inputs)) if len(inputs) > 1 else ("", "")
    same = itertools.takewhile(lambda letters: letters[0] == letters[1], zip(first, last, strict=False))
    start = "".join(letter for letter, _ in same).rfind(" ") + 1
    return [
        text[:start] + change(text[start:], random.Random(f"{number} {text}"))
        for number, text in enumerate(inputs)
    ]


def _typos(text: str, rng: random.Random) -> str:
    """One typing error in every tenth word, in one word at least."""
    words = list(_WORD.finditer(text))
    if not words:
        return text
    chosen = {place for place in range(len(words)) if rng.random() < _SHARE_OF_WORDS} or {
        rng.randrange(len(words))
    }
    parts, end = [], 0
    for place in sorted(chosen):
        parts += [text[end : words[place].start()], _mistyped(words[place][0], rng)]
        end = words[place].end()
    return "".join([*parts, text[end:]])


def _mistyped(word: str, rng: random.Random) -> str:
    """Return a word with two letters swapped, one dropped, one doubled, or that of a key beside it."""
    place = rng.randrange(len(word) - 1)
    first, second = word[place : place + 2]
    letter = rng.choice(_neighbours(first) or [second])
    typed = rng.choice([second + first, second, first + first + second, letter + second])
    return word[:place] + typed + word[place + 2 :]


def _neighbours(letter: str) -> list[str]:
    """Return the letters of the keys to the left and right on a QWERTY keyboard."""
    for row in _KEYBOARD:
        if (place := row.find(letter.lower())) >= 0:
            beside = row[max(place - 1, 0) : place] + row[place + 1 : place + 2]
            return list(beside if letter.islower() else beside.upper())
    return []


PERTURBATIONS: Mapping[str, Callable[[str, random.Random], str]] = {
    "typos": _typos,
    "lower case": lambda text, rng: text.lower(),
    "upper case": lambda text, rng: text.upper(),
}
"""Changes of an input, by name."""
