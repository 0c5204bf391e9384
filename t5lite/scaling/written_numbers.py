"""Numbers as people write them in tables: 1.3B, 1,300,000, 3,14, 2e9."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MULTIPLES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_SUFFIXED = re.compile(rf"(.*\d\.?)\s*([{''.join(_MULTIPLES)}])", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:([ ,.'\u2019\u00a0\u202f])\d{3})(?:\1\d{3})*(?P<rest>[.,]\d*)?")
_POINT, _COMMA = (re.compile(rf"[+-]?\d+{mark}\d+(?:e[+-]?\d+)?", re.IGNORECASE) for mark in (r"\.", ","))
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+|(?:\.\d{3})+)")


@dataclass(frozen=True)
class Writing:
    """How a table writes its numbers.

    Attributes:
      decimal_comma: 3,14 is 3.14 and 1.300 is 1300, rather than 1,300 being 1300.
    """

    decimal_comma: bool

    @classmethod
    def of(cls, losses: Iterable[Any], *, may_be_large: bool = False) -> "Writing":
        """Tell it by the losses: some have a decimal comma, and none a decimal point.

        Args:
          losses: of all rows; what is no text says nothing.
          may_be_large: they may be thousands, as perplexities are, so that 1,234 says nothing either.
        """
        texts = [loss.strip() for loss in losses if isinstance(loss, str)]
        telling = [text for text in texts if not (may_be_large and _THOUSANDS.fullmatch(text))]
        return cls(any(map(_COMMA.fullmatch, telling)) and not any(map(_POINT.fullmatch, telling)))

    def number(self, value: Any, *, may_be_large: bool, unit: float = 1.0) -> float:
        """Return a value as a number.

        Args:
          value: text, or a number of any type.
          may_be_large: 1,300 is 1300, and 1.3B is 1.3e9 (k, M, B or G, T); else neither is a number.
          unit: of a number that has none of its own, as 1.3B has.

        Raises:
          ValueError: if it is no number.
          TypeError: if it is nothing that could be one.
        """
        if isinstance(value, bool):
            raise TypeError("true is no number")
        if not isinstance(value, str):
            return float(value) * unit
        text, multiple = value.strip(), unit
        if may_be_large and (suffixed := _SUFFIXED.fullmatch(text)):
            text, multiple = suffixed[1], _MULTIPLES[suffixed[2].lower()]
        decimal = "," if self.decimal_comma else "."
        grouped = _GROUPED.fullmatch(text) if may_be_large else None
        if grouped and grouped[1] != decimal and (grouped["rest"] or decimal)[0] == decimal:
            text = text.replace(grouped[1], "")
        return float(text.replace(",", ".") if self.decimal_comma else text) * multiple

    def names_unit(self, value: Any) -> bool:
        """Whether a value has a unit of its own, as 1.3B has."""
        return isinstance(value, str) and _SUFFIXED.fullmatch(value.strip()) is not None
