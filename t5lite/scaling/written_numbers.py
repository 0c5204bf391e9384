"""Numbers as people write them in tables: 1.3B, 1,300,000, 3,14, 2e9."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MULTIPLES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_SUFFIXED = re.compile(rf"(.*\d\.?)\s*([{''.join(_MULTIPLES)}])", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([ ,.'\u2019\u00a0\u202f])\d{3})(?:\1\d{3})*(?P<rest>[.,]\d*)?")


@dataclass(frozen=True)
class Writing:
    """How a table writes its numbers.

    Attributes:
      decimal_comma: 3,14 is 3.14 and 1.300 is 1300, rather than 1,300 being 1300.
    """

    decimal_comma: bool

    @classmethod
    def of(cls, losses: Iterable[Any]) -> "Writing":
        """Tell it by the losses, of which none is so large that it has a comma between thousands."""
        return cls(any(isinstance(loss, str) and "," in loss for loss in losses))

    def number(self, value: Any, *, may_be_multiple: bool) -> float:
        """Return a value as a number.

        Args:
          value: text, or a number of any type.
          may_be_multiple: 1.3B is 1.3e9; k, M, B or G, T.

        Raises:
          ValueError: if it is no number.
          TypeError: if it is nothing that could be one.
        """
        if not isinstance(value, str):
            return float(value)
        text, multiple = value.strip(), 1.0
        if may_be_multiple and (suffixed := _SUFFIXED.fullmatch(text)):
            text, multiple = suffixed[1], _MULTIPLES[suffixed[2].lower()]
        decimal = "," if self.decimal_comma else "."
        grouped = _GROUPED.fullmatch(text)
        if grouped and grouped[1] != decimal and (grouped["rest"] or decimal)[0] == decimal:
            text = text.replace(grouped[1], "")
        return float(text.replace(",", ".") if self.decimal_comma else text) * multiple
