"""What surrounds a text, by the architecture: what t5lite puts there, and a tokenizer's class shall add."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from t5lite.core.architectures import SIDES_OF
from t5lite.core.batch_fields import Side
from t5lite.data.vocabulary import SpecialToken, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.models.config import Architecture


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

        def token(index: int, type_id: int) -> dict[str, Any]:
            return {"SpecialToken": {"id": names[index], "type_id": type_id}}

        def text(name: str, type_id: int) -> list[dict[str, Any]]:
            sequence = {"Sequence": {"id": name, "type_id": type_id}}
            return [sequence, *(token(index, type_id) for index in self.after)]

        single = [*(token(index, 0) for index in self.before), *text("A", 0)]
        return {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, *text("B", int(self.token_types))],
            "special_tokens": {
                names[index]: {"id": names[index], "ids": [index], "tokens": [names[index]]}
                for index in (*self.before, *self.after)
            },
        }


def framing(vocabulary: Vocabulary, architecture: Architecture) -> Framing:
    """Return what t5lite puts around a text of a model of an architecture.

    Raises:
      ConfigError: if the vocabulary has not the tokens for it.
    """
    special: dict[SpecialToken, int] = {}
    for name in get_args(SpecialToken):
        index = getattr(vocabulary, f"{name}_id")
        if index is not None:
            special[name] = index
    return _FRAMINGS[SIDES_OF[architecture]](vocabulary, special)


def _ended(vocabulary: Vocabulary, special: dict[SpecialToken, int]) -> Framing:
    return Framing(after=(vocabulary.special_id("eos", needed_for="an encoder-decoder"),), special=special)


def _begun(vocabulary: Vocabulary, special: dict[SpecialToken, int]) -> Framing:
    # No EOS: a prompt is continued, and what follows an EOS is another document.
    return Framing(before=vocabulary.prompt_prefix, special=special)


def _between_cls_and_sep(vocabulary: Vocabulary, special: dict[SpecialToken, int]) -> Framing:
    stand = special_tokens(vocabulary)
    special |= {"mask": stand.mask, "cls": stand.cls, "sep": stand.sep}
    return Framing(
        before=(stand.cls,), after=(stand.sep,), special=special, token_types=True, parses_special=True
    )


_FRAMINGS: dict[tuple[Side, ...], Callable[[Vocabulary, dict[SpecialToken, int]], Framing]] = {
    ("encoder", "decoder"): _ended,
    ("decoder",): _begun,
    ("encoder",): _between_cls_and_sep,
}
"""By the sides that a model reads."""
