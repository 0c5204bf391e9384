"""What surrounds a text, by the architecture: what t5lite puts there, and a tokenizer's class shall add."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, get_args

from t5lite.core.architectures import SIDES_OF
from t5lite.core.batch_fields import Side
from t5lite.data.vocabulary import Frame, SpecialToken, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.data.vocabulary.tokenizer_classes import template
from t5lite.models.config import Architecture

_Special: TypeAlias = dict[SpecialToken, int]


@dataclass(frozen=True, kw_only=True)
class Framing:
    """The ids before a text, those after it, and what the special tokens are called for.

    Attributes:
      before: ids before the first text.
      after: ids after each text of a pair, or after the only one.
      special: ids by what they are for; of an encoder-only model also what stands for [MASK] and so on.
      token_types: whether the model tells the second text of a pair by its token types.
      parses_special: whether a text that spells a special token is that token (a mask must be).
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    special: Mapping[SpecialToken, int] = field(default_factory=dict)
    token_types: bool = False
    parses_special: bool = False

    @property
    def model_inputs(self) -> list[str]:
        """What the tokenizer hands to the model."""
        types = ["token_type_ids"] if self.token_types else []
        return ["input_ids", *types, "attention_mask"]

    def post_processor(self, names: dict[int, str]) -> dict[str, Any]:
        """Return tokenizer.json's post-processor, given the tokens' names by id."""
        before, after = ([(names[index], index) for index in side] for side in (self.before, self.after))
        return template(before, after, second_type=int(self.token_types))


def framing(
    vocabulary: Vocabulary, architecture: Architecture, *, token_types: bool, frame: Frame | None
) -> Framing:
    """Return what t5lite puts around a text of a model of an architecture.

    Args:
      vocabulary: of the model.
      architecture: of the model.
      token_types: whether an encoder-only model has types for both texts of a pair.
      frame: what surrounds a text; None: as of a model with a decoder that was trained on what the
        vocabulary's own rules make, or of an encoder that was trained here.

    Raises:
      ConfigError: if the vocabulary has not the tokens for it.
    """
    special: _Special = {}
    for name in get_args(SpecialToken):
        index = getattr(vocabulary, f"{name}_id")
        if index is not None:
            special[name] = index
    found = _FRAMINGS[SIDES_OF[architecture]](vocabulary, special, frame)
    return replace(found, token_types=found.token_types and token_types)


def _ended(vocabulary: Vocabulary, special: _Special, frame: Frame | None) -> Framing:
    eos_id = vocabulary.special_id("eos", needed_for="an encoder-decoder")
    frame = frame or vocabulary.own_frame or Frame(after=(eos_id,))
    return Framing(before=frame.before, after=frame.after, special=special)


def _begun(vocabulary: Vocabulary, special: _Special, frame: Frame | None) -> Framing:
    # No EOS: a prompt is continued, and what follows an EOS is another document.
    frame = frame or Frame(before=vocabulary.prompt_prefix)
    return Framing(before=frame.before, after=frame.after, special=special)


def _between_cls_and_sep(vocabulary: Vocabulary, special: _Special, frame: Frame | None) -> Framing:
    stand = special_tokens(vocabulary)
    special |= {"mask": stand.mask, "cls": stand.cls, "sep": stand.sep}
    frame = frame or Frame((stand.cls,), (stand.sep,))
    return Framing(
        before=frame.before, after=frame.after, special=special, token_types=True, parses_special=True
    )


_FRAMINGS: dict[tuple[Side, ...], Callable[[Vocabulary, _Special, Frame | None], Framing]] = {
    ("encoder", "decoder"): _ended,
    ("decoder",): _begun,
    ("encoder",): _between_cls_and_sep,
}
"""By the sides that a model reads."""
