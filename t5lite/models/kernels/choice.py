"""Which op computes attention: the wanted one if it can, else the reference, and why."""

import functools
import logging
import math
from dataclasses import dataclass

import jax

from t5lite.models.config import AttentionBackend, AttentionSpec, Execution
from t5lite.models.kernels.tiling import LANES, heads_per_block, make_tiling
from t5lite.models.layers.attention_ops import AttentionMask, Window
from t5lite.partitioning.rules import Partitioner, active_partitioner, target_platform

logger = logging.getLogger(__name__)

QUERY_AXES = ("batch", "length", "heads", "kv")
KEY_AXES = ("batch", None, "heads", "kv")

_SHORTEST_FOR_FLASH = 256 * 256
"""Logits a head and row from which the kernel is chosen: docs/attention.md has the table."""
_MOST_SCRATCH = 40 * 2**20
"""Bytes of gradients that the backward kernel may hold, of the 64 MiB that a TPU v5p core has."""


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

    @classmethod
    def of_layer(
        cls,
        attention: AttentionSpec,
        execution: Execution,
        mask: AttentionMask,
        batch: int,
        lengths: tuple[int, int],
    ) -> "AttentionShape":
        """Return the shape of a layer's attention, lengths of queries and of keys."""
        return cls(
            batch=batch,
            query_length=lengths[0],
            key_length=lengths[1],
            num_heads=attention.num_heads,
            kv_heads=attention.kv_heads,
            head_dim=attention.head_dim,
            dtype=execution.compute_dtype,
            cached=_is_cached(mask),
            window=mask.window,
            softcap=attention.softcap,
        )

    @classmethod
    def of_arrays(
        cls, q_BLHK: jax.Array, k_BMGK: jax.Array, mask: AttentionMask, *, softcap: float | None = None
    ) -> "AttentionShape":
        """Return the shape of a call."""
        batch, query_length, num_heads, head_dim = q_BLHK.shape
        return cls(
            batch=batch,
            query_length=query_length,
            key_length=k_BMGK.shape[1],
            num_heads=num_heads,
            kv_heads=k_BMGK.shape[2],
            head_dim=head_dim,
            dtype=str(q_BLHK.dtype),
            cached=_is_cached(mask),
            window=mask.window,
            softcap=softcap,
        )

    @property
    def short(self) -> str:
        """The lengths, for messages."""
        return f"{self.query_length} queries over {self.key_length} keys"


def choose_backend(wanted: AttentionBackend, shape: AttentionShape) -> AttentionBackend:
    """Return ``reference``, ``flash`` or ``cudnn``.

    Args:
      wanted: the backend, or ``auto`` for the platform's own where it pays. One that cannot compute this
        shape gives way to the reference, which computes everything; the reason is logged once.
      shape: of the call.
    """
    return backend_on(target_platform(), active_partitioner(), wanted, shape)


@functools.cache
def backend_on(
    platform: str, partitioner: Partitioner | None, wanted: AttentionBackend, shape: AttentionShape
) -> AttentionBackend:
    """Return the backend under a partitioner that need not be active, whose mesh may be abstract.

    Where there was a choice, the reason is told.
    """
    backend = wanted
    if wanted == "auto":
        backend = _BACKEND_OF_PLATFORM.get(platform, "reference")
    if backend == "reference":
        return backend  # as asked for, or there is no other for this platform: nothing to tell
    refusal = (
        _not_for_platform(backend, platform)
        or ("a step of decoding has one query" if shape.cached else None)
        or _window_beyond_keys(shape)
        or (_flash_refusal(shape, partitioner) if backend == "flash" else _cudnn_refusal(shape))
        or (_too_short(shape) if wanted == "auto" else None)
    )
    if refusal:
        expected = wanted == "auto" or shape.cached
        level = logging.INFO if expected else logging.WARNING
        _tell(level, f"attention of {shape.short}: the reference op, not {backend} ({refusal})")
        return "reference"
    _tell(logging.INFO, f"attention of {shape.short}: {backend} on platform {platform!r}")
    return backend


@functools.cache
def _tell(level: int, message: str) -> None:
    """Log a message for the first time that it is told."""
    logger.log(level, message)


def _is_cached(mask: AttentionMask) -> bool:
    return mask.key_positions_M is not None or not isinstance(mask.query_offset, int)


def _not_for_platform(backend: AttentionBackend, platform: str) -> str | None:
    if _BACKEND_OF_PLATFORM.get(platform) != backend:
        return f"it does not run on platform {platform!r}"
    return None


def _window_beyond_keys(shape: AttentionShape) -> str | None:
    if shape.window is not None and shape.query_length > shape.key_length:
        return "its window is over keys that end before the queries"
    return None


def _too_short(shape: AttentionShape) -> str | None:
    if shape.query_length * shape.key_length < _SHORTEST_FOR_FLASH:
        return f"so few logits are no burden; below {_SHORTEST_FOR_FLASH} of a head"
    return None


def _flash_refusal(shape: AttentionShape, partitioner: Partitioner | None) -> str | None:
    """Return why the TPU kernel does not compute this on every device of the mesh, or None."""
    if partitioner is None and jax.device_count() > 1:
        return "no partitioner says how it is divided over the devices"
    batch_ways, length_ways, heads_ways = ways_of_queries(partitioner)
    for name, size, ways in (
        ("rows", shape.batch, batch_ways),
        ("queries", shape.query_length, length_ways),
        ("heads", shape.num_heads, heads_ways),
    ):
        if size % ways:
            return f"{size} {name} do not divide over {ways} devices"
    length, num_heads = shape.query_length // length_ways, shape.num_heads // heads_ways
    if length_ways > 1 and length % LANES:
        return f"a device's {length} queries are no multiple of {LANES}"
    share = shape.num_heads // shape.kv_heads
    turns = min(share, num_heads)
    if num_heads % turns or share % turns:
        return f"a device's {num_heads} heads end amid {share} that share a head of keys"
    kv_heads = num_heads // turns
    if heads_per_block(kv_heads, shape.head_dim) is None:
        return f"{kv_heads} heads of {shape.head_dim} columns fit no block of whole registers"
    tiling = make_tiling(length, shape.key_length, kv_heads, shape.head_dim, turns=turns)
    if tiling.gradient_bytes > _MOST_SCRATCH:
        return f"the gradients of {length} queries do not fit on the chip"
    return None


def _cudnn_refusal(shape: AttentionShape) -> str | None:
    """Return why cuDNN does not compute this, or None (its conditions are in jax.nn's own checks)."""
    if jax.default_backend() != "gpu":
        return "cuDNN is chosen on the GPU itself, and this program is only compiled for one"
    if shape.dtype != "bfloat16":
        return f"cuDNN takes bfloat16, not compute_dtype={shape.dtype!r}"
    if shape.softcap is not None:
        return "cuDNN has no softcap"
    if shape.head_dim % 8 or shape.head_dim > 128:
        return f"cuDNN takes heads of up to 128 columns, a multiple of 8, not {shape.head_dim}"
    if shape.query_length % 2 or shape.key_length % 2:
        return "cuDNN takes even lengths where there is a bias or a mask"
    return None


def ways_of_queries(partitioner: Partitioner | None) -> tuple[int, int, int]:
    """Return over how many devices rows, queries and heads are divided."""
    if partitioner is None:
        return 1, 1, 1
    rows, queries, heads, _ = partitioner.activation_spec(QUERY_AXES)
    return _ways(partitioner, rows), _ways(partitioner, queries), _ways(partitioner, heads)


def _ways(partitioner: Partitioner, mesh_axes: str | tuple[str, ...] | None) -> int:
    names = (mesh_axes,) if isinstance(mesh_axes, str) else mesh_axes or ()
    return math.prod(partitioner.mesh.shape[name] for name in names)


_BACKEND_OF_PLATFORM: dict[str, AttentionBackend] = {"tpu": "flash", "gpu": "cudnn", "cuda": "cudnn"}
