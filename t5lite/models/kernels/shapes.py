"""What of a call to attention decides who computes it."""

import math
from dataclasses import dataclass

from t5lite.models.config import AttentionSpec, Execution
from t5lite.models.layers.attention_ops import AttentionMask, Window
from t5lite.partitioning.rules import Partitioner

QUERY_AXES = ("batch", "length", "heads", "kv")
KEY_AXES = ("batch", None, "heads", "kv")


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """What of a call to attention decides who computes it; of the global arrays, not a device's part."""

    batch: int
    query_length: int
    key_length: int
    num_heads: int
    kv_heads: int
    head_dim: int
    dtype: str
    cached: bool
    """Whether the queries stand somewhere in a cache of keys: a step of decoding."""
    window: Window | None = None
    softcap: float | None = None
    merged: bool = False
    """Whether the softmax is over keys of another stack's output too."""

    @classmethod
    def of_layer(
        cls,
        attention: AttentionSpec,
        execution: Execution,
        mask: AttentionMask,
        sizes_BLM: tuple[int, int, int],
        *,
        drops: bool,
    ) -> "AttentionShape":
        """Return the shape of a layer's attention, for rows and lengths of queries and of keys.

        Where weights are dropped, every query head drops keys of its own, which kernels take as values of
        its own.
        """
        batch, query_length, key_length = sizes_BLM
        return cls(
            batch=batch,
            query_length=query_length,
            key_length=key_length,
            num_heads=attention.num_heads,
            kv_heads=attention.num_heads if drops else attention.kv_heads,
            head_dim=attention.head_dim,
            dtype=execution.compute_dtype,
            cached=_is_cached(mask),
            window=mask.window,
            softcap=attention.softcap,
            merged=attention.merged,
        )

    @property
    def short(self) -> str:
        """The lengths, for messages."""
        return f"{self.query_length} queries over {self.key_length} keys"


def ways_of_queries(partitioner: Partitioner | None) -> tuple[int, int, int]:
    """Return over how many devices rows, queries and heads are divided."""
    if partitioner is None:
        return 1, 1, 1
    rows, queries, heads, _ = partitioner.activation_spec(QUERY_AXES)
    return _ways(partitioner, rows), _ways(partitioner, queries), _ways(partitioner, heads)


def _ways(partitioner: Partitioner, mesh_axes: str | tuple[str, ...] | None) -> int:
    names = (mesh_axes,) if isinstance(mesh_axes, str) else mesh_axes or ()
    return math.prod(partitioner.mesh.shape[name] for name in names)


def _is_cached(mask: AttentionMask) -> bool:
    return mask.key_positions_M is not None or not isinstance(mask.query_offset, int)
