"""The logical axes of parameters and activations, each named once: what shards and what factors asks here.

In kernels of attention ``heads`` and ``kv_heads`` are heads x kv as one dimension, ``kv`` the width of the
one head of multi-query attention; ``kv_heads`` where there are fewer of them than ``heads``.
"""

from typing import Literal

RANK = "rank"
"""Between the factors of a low-rank update: of either, the side of a matrix that the other axis is not."""
MATRIX_SIDES: dict[str, Literal["row", "column"] | None] = {
    "vocab": "column",
    "embed": "row",
    "heads": "column",
    "kv_heads": "column",
    "kv": "column",
    "mlp": "column",
    "layers": None,
    "relpos_buckets": None,
    "positions": "column",
    "token_types": "column",
    "table": "column",
    "features": "column",
    "labels": "column",
    RANK: None,
}
"""Of every axis of a parameter, which side of a matrix it is (as in T5X's standard logical factor rules).

``layers`` batches. Any other without a side makes no matrix; ``table`` is the width of a narrow embedding
table, ``features`` and ``labels`` are outputs of an encoder's head.
"""
PARAMETER_AXES = tuple(MATRIX_SIDES)
ACTIVATION_AXES = ("batch", "length", "vocab", "embed", "heads", "kv_heads", "kv", "mlp")
