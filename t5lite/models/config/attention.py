"""What of attention an architecture chooses besides its sizes and positions."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from t5lite.core.batch_fields import Side
from t5lite.core.errors import ConfigError
from t5lite.models.config.checks import check_choice, check_finite, check_positive

AttentionBiases = Literal["none", "qkv", "all"]
"""Of no projection, of those of queries, keys and values, or of the output's as well."""


class Window(NamedTuple):
    """How many keys a query sees besides the one at its own place."""

    before: int
    after: int

    @property
    def span(self) -> int:
        """Most keys that a query sees."""
        return self.before + 1 + self.after


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Scale, cap, norms, biases and windows of attention."""

    scaled: bool = False
    """Divide attention logits by sqrt(head_dim); T5 has that factor in the initial query kernel instead."""
    scale_dim: int | None = None
    """What stands for ``head_dim`` in that square root, where it is another number (Gemma 2)."""
    softcap: float | None = None
    """softcap * tanh(logits / softcap) before the softmax (Gemma 2)."""
    qk_norm: bool = False
    """A norm, of the model's kind, over each head of queries and of keys, before they are turned (Qwen 3)."""
    biases: AttentionBiases = "none"
    windows: tuple[int | None, ...] = (None,)
    """The windows of the layers, in turn; None: a query sees everything. In a decoder it sees so many tokens,
    its own the last of them; in an encoder those at most so far away, as in transformers. (4096, None) is
    T5Gemma's, local layers first."""
    split_windows: bool = False
    """In an encoder a query sees as many tokens as the window says in all, its own among them and the odd one
    after it (T5Gemma 2), and not as many on each side."""

    def __post_init__(self) -> None:
        check_choice("attention.biases", self.biases, get_args(AttentionBiases))
        check_finite(self, "softcap", within="attention.")
        check_positive(self, "scale_dim", within="attention.")
        if self.scale_dim is not None and not self.scaled:
            raise ConfigError(f"attention.scale_dim={self.scale_dim} needs attention.scaled=True")
        if not self.windows:
            raise ConfigError("attention.windows=() says nothing of any layer; (None,) has no windows")
        for window in self.windows:
            if window is not None and (not isinstance(window, int) or window < 1):
                raise ConfigError(
                    f"attention.windows={self.windows}: a window must be an integer from 1, or None"
                )

    def reach(self, side: Side, window: int | None, *, sees_later: bool) -> Window | None:
        """Return what a window shows a query of a stack; ``sees_later``: in a decoder, too."""
        if window is None:
            return None
        if side == "encoder":
            return Window((window - 1) // 2, window // 2) if self.split_windows else Window(window, window)
        # In a decoder that sees inputs both ways, what is causal hides later targets by itself.
        return Window(window - 1, window - 1 if sees_later else 0)

    def scale(self, head_dim: int) -> float:
        """Return the factor on the logits."""
        return (self.scale_dim or head_dim) ** -0.5 if self.scaled else 1.0
