"""What a model is asked: the ids of a text as data of its training would have them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.data.vocabulary import Frame


@dataclass(frozen=True)
class Prompt:
    """The inputs of one example, without what frames them."""

    ids: np.ndarray
    """int32."""
    num_leading: int = 0
    """Tokens at their beginning that stay where they are cut: a mode, what a tokenizer begins a text with."""
    ends: bool = False
    """Whether EOS stands between them and the targets in a row of both, as between those of pairs."""
    frame: Frame | None = None
    """What surrounds them in a row of their own; None: EOS behind."""

    @classmethod
    def after(cls, prefix: Sequence[int], ids: np.ndarray) -> "Prompt":
        """Return the ids after others that stay."""
        return cls(np.append(np.array(prefix, np.int32), ids).astype(np.int32), num_leading=len(prefix))
