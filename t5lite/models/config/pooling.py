"""How a text's hidden states become one vector."""

from typing import Literal, TypeAlias

Pooling: TypeAlias = Literal["mean", "cls", "last"]
"""The mean over its tokens, the state of the first one, or that of the last one."""
