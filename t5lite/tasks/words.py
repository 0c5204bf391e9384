"""Words and punctuation, as T5's preprocessors have them."""

import re

_NO_WORD = re.compile(r"([^0-9A-Za-z_])")


def alphanumeric_words(text: str) -> list[str]:
    """Return what stands between other characters than ASCII letters, digits and underscores."""
    return _NO_WORD.sub(" ", text).split()


def pad_punctuation(text: str) -> str:
    r"""Return ``text`` with spaces around whatever is no ASCII letter, digit or underscore.

    That is what T5's published checkpoints were trained on (TensorFlow's ``\W`` knows ASCII alone, so that
    the letters of "café" are two words). White space becomes a single space; T5 keeps one at the ends, which
    its vocabulary drops.
    """
    return " ".join(_NO_WORD.sub(r" \1 ", text).split())
