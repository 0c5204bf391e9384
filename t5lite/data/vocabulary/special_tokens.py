"""The tokens that frame and mask a sequence, or what stands for them in a vocabulary without."""

from typing import NamedTuple

from t5lite.core.errors import ConfigError
from t5lite.data.vocabulary.base import Vocabulary


class SpecialTokens(NamedTuple):
    """The ids that frame and mask a sequence."""

    mask: int
    cls: int
    sep: int


def separators(vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return what stands between two texts: [SEP], as often as the tokenizer's own rules put it there.

    Raises:
      ConfigError: as ``special_tokens``.
    """
    sep, own = special_tokens(vocabulary).sep, vocabulary.own_separators
    return own if set(own) == {sep} else (sep,)


def special_tokens(vocabulary: Vocabulary) -> SpecialTokens:
    """Return [MASK], [CLS] and [SEP], or what stands for them.

    A SentencePiece vocabulary of T5's kind has none of them: its last sentinel stands for [MASK], the last
    but one for [CLS], and EOS for [SEP].

    Raises:
      ConfigError: if there is nothing to stand for them.
    """
    mask, cls, sep = vocabulary.mask_id, vocabulary.cls_id, vocabulary.sep_id
    wanted = (mask is None) + (cls is None)
    if wanted > vocabulary.extra_ids or (sep is None and vocabulary.eos_id is None):
        raise _lacking(vocabulary, sep=vocabulary.eos_id if sep is None else sep)
    last = vocabulary.extra_ids - 1
    if mask is None:
        mask, last = vocabulary.sentinel(last), last - 1
    if cls is None:
        cls = vocabulary.sentinel(last)
    sep = vocabulary.eos_id if sep is None else sep
    assert sep is not None
    return SpecialTokens(mask, cls, sep)


def _lacking(vocabulary: Vocabulary, *, sep: int | None) -> ConfigError:
    """Return the error that names the tokens for which there is nothing, and how to come by them."""
    ids = {"mask": vocabulary.mask_id, "cls": vocabulary.cls_id, "sep": sep}
    lacking = {f"{name}_token": f"[{name.upper()}]" for name, token in ids.items() if token is None}
    remedy = (
        f"prepare the text with extra_ids of {len(lacking)} or more, or with a BERT tokenizer"
        if vocabulary.takes_extra_ids
        else f"add them by tokenizer.add_special_tokens({lacking}) and save_pretrained of transformers, or "
        "prepare the text with a tokenizer that has them"
    )
    return ConfigError(
        f"{vocabulary.path} has no {' and no '.join(lacking.values())}, and too few sentinels to stand for "
        f"them (extra_ids={vocabulary.extra_ids}); {remedy}"
    )
