"""What a folder says of a model besides its shape and weights: how it is used."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t5lite.interop.trees import listed

logger = logging.getLogger(__name__)

_SHOWN = 40
"""Characters of a name that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How a model is used.

    Attributes:
      class_names: of a classifier, the name of each output; empty where nothing says.
      eos_ids: what ends a generated text besides the vocabulary's EOS.
      generation: what else a folder says of writing (``num_beams``, ``suppress_tokens``), as it says it.
      text_length: tokens that texts were cut to where it was trained to embed them; None where nothing says.
    """

    class_names: tuple[str, ...] = ()
    eos_ids: tuple[int, ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)
    text_length: int | None = None

    def names(self, num_labels: int) -> tuple[str, ...]:
        """Return a name for each of so many outputs; transformers' ``LABEL_i`` where there is none.

        Names that are not one line each, or do not tell the outputs apart, are none: all are ``LABEL_i``.
        """
        numbered = tuple(f"LABEL_{i}" for i in range(num_labels))
        names = self.class_names[:num_labels] + numbered[len(self.class_names) :]
        unusable = [
            name
            for name, count in Counter(names).items()
            if count > 1 or not name.strip() or name.splitlines() != [name]
        ]
        if not unusable:
            return names
        logger.warning(
            "the names of the %d classes are left out (%s), and they are LABEL_0, LABEL_1, …: a name must be "
            "one line, and of one class; to keep them, correct them where they come from",
            num_labels,
            listed([repr(name[:_SHOWN]) for name in unusable]),
        )
        return numbered
