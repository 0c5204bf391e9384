"""The kernels of attention by name: where each runs, what it refuses, how it is called.

What none of them computes, the reference op does (``layers.attention_ops``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from t5lite.core.types import LogicalAxes
from t5lite.models.kernels.shapes import AttentionShape, ways_of_queries
from t5lite.models.kernels.tiling import LANES, heads_per_block, make_tiling
from t5lite.models.layers.attention_ops import AttentionMask
from t5lite.models.layers.position import RelativeBias, Rotation
from t5lite.models.layers.position import rotate as rotate_halves
from t5lite.partitioning.rules import Partitioner, active_partitioner

_MOST_SCRATCH = 40 * 2**20
"""Bytes of gradients that the backward kernel may hold, of the 64 MiB that a TPU v5p core has."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A way to compute attention on an accelerator, equal to the reference op and its gradients.

    Attributes:
      platforms: it runs on, of which it is the one that ``auto`` means.
      refusal: why it does not compute a shape on every device of a mesh, or None.
      attend: called with queries, keys and values, ``mask``, ``bias`` and ``softcap``; nothing is dropped.
      computes_bias: whether it makes the relative bias of a tile itself, and wants no array of it.
    """

    platforms: frozenset[str]
    refusal: Callable[[AttentionShape, Partitioner | None], str | None]
    attend: Callable[..., jax.Array]
    computes_bias: bool


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


def _cudnn_refusal(shape: AttentionShape, partitioner: Partitioner | None) -> str | None:
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


def _flash(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    mask: AttentionMask,
    bias: RelativeBias | None,
    softcap: float | None,
) -> jax.Array:
    # Imported where it is needed: Pallas alone takes a third of a second.
    from t5lite.models.kernels.sharded import sharded_flash_attention

    return sharded_flash_attention(q_BLHK, k_BMGK, v_BMGK, mask=mask, bias=bias, softcap=softcap)


def _cudnn(
    q_BLHK: jax.Array,
    k_BMGK: jax.Array,
    v_BMGK: jax.Array,
    *,
    mask: AttentionMask,
    bias: RelativeBias | None,
    softcap: float | None,
) -> jax.Array:
    from t5lite.models.kernels.cudnn_attention import cudnn_attention

    assert softcap is None  # else it was refused
    return cudnn_attention(q_BLHK, k_BMGK, v_BMGK, mask=mask, bias=bias)


KERNELS: dict[str, Kernel] = {
    "flash": Kernel(
        platforms=frozenset({"tpu"}),
        refusal=_flash_refusal,
        attend=_flash,
        computes_bias=True,
    ),
    "cudnn": Kernel(
        platforms=frozenset({"gpu", "cuda"}),
        refusal=_cudnn_refusal,
        attend=_cudnn,
        computes_bias=False,
    ),
}
"""Every kernel by the name that ``Execution.attention`` has for it."""


def names_context(backend: str) -> bool:
    """Return whether remat policies know a backend's result as ``context`` already, as they do a kernel's.

    They do so with what else its backward pass reads. Named once more outside, it would be kept twice.
    """
    return backend in KERNELS


def rotate(x_BLHK: jax.Array, rotation: Rotation | None, axes: LogicalAxes) -> jax.Array:
    """Return heads turned by their positions, in front of the attention that the rotation names.

    Args:
      x_BLHK: projected heads.
      rotation: of their positions; None leaves them as they are.
      axes: their logical axes.
    """
    if rotation is None or rotation.backend != "flash" or not _is_whole_registers(x_BLHK, axes):
        return rotate_halves(x_BLHK, rotation)
    from t5lite.models.kernels.rotary import rotate_columns

    return rotate_columns(x_BLHK, rotation, axes)


def _is_whole_registers(x_BLHK: jax.Array, axes: LogicalAxes) -> bool:
    """Return whether heads are a register wide, and every device has as many, of whole tiles of positions."""
    partitioner, shape = active_partitioner(), x_BLHK.shape
    ways = (1,) * len(shape)
    if partitioner is not None:
        ways = tuple(map(partitioner.num_shards, partitioner.activation_spec(axes)))
    divides = all(size % number == 0 for size, number in zip(shape, ways, strict=True))
    return divides and shape[3] == LANES and shape[1] // ways[1] % LANES == 0
