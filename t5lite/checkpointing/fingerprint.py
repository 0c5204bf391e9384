"""A number per array that tells whether a checkpoint came back as it went out.

Orbax stores arrays without checksums of their contents: a flipped bit on disk restores in silence. So
each array's fingerprint is saved beside it and compared after reading. It is computed on the devices, one
pass over the memory, and does not depend on how the array is sharded, because it is a sum of integers
modulo 2**32; so it holds on any other mesh.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.types import Tree

_MULTIPLIER = 0x9E3779B1  # odd; 2**32 over the golden ratio, as in Fibonacci hashing
_LOOPED_RANK = 3
"""Matrices stacked by layer have this many axes, or more."""
_MOST_BY_NUMPY = 1 << 26
"""Elements, of which it takes a quarter of a second."""
_ELEMENTS_AT_A_TIME = 1 << 18


@jax.jit
def fingerprints(tree: Tree) -> Tree:
    """Return a uint32 scalar for every array of ``tree``.

    It is the sum over elements of ``bits * (position * odd constant | 1)`` modulo 2**32. A change of a
    single element always shows (its factor is odd); several changes, or a swap, show but for a chance of
    about 2**-32.
    """
    return jax.tree.map(fingerprint, tree)


def fingerprints_once(tree: Tree) -> Tree:
    """Return ``fingerprints`` as integers, of arrays that a process looks at once, as after reading.

    To trace and compile the program takes many times what it computes of a small model, so NumPy does that
    where the arrays are in this process's memory.
    """
    leaves = jax.tree.leaves(tree)
    num_elements = sum(leaf.size for leaf in leaves)
    if num_elements <= _MOST_BY_NUMPY and all(_in_memory(leaf) for leaf in leaves):
        return jax.tree.map(_by_numpy, tree)
    return jax.tree.map(int, jax.device_get(fingerprints(tree)))


def _in_memory(x: jax.Array | np.ndarray) -> bool:
    if isinstance(x, np.ndarray):
        return True
    return x.is_fully_addressable and {device.platform for device in x.devices()} == {"cpu"}


def _by_numpy(x: jax.Array | np.ndarray) -> int:
    flat = np.asarray(x).reshape(-1)
    bits = flat.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[flat.dtype.itemsize])
    total = 0
    for start in range(0, len(bits), _ELEMENTS_AT_A_TIME):
        part = bits[start : start + _ELEMENTS_AT_A_TIME].astype(np.uint32)
        position = np.arange(start, start + len(part), dtype=np.uint32)
        total += int(np.sum(part * (position * np.uint32(_MULTIPLIER) | np.uint32(1)), dtype=np.uint32))
    return total % 2**32


def fingerprint(x: jax.Array) -> jax.Array:
    """Return the fingerprint of one array, or of the part of one that a device holds."""
    if x.ndim < _LOOPED_RANK:
        return _weighted_sum(x, jnp.uint32(0))
    # Layer by layer: XLA for CPUs writes the products out before it sums them, which would be the whole
    # state once more in memory.
    per_layer = jnp.uint32(math.prod(x.shape[1:]))

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        layer = jax.lax.dynamic_index_in_dim(x, i, keepdims=False)
        return total + _weighted_sum(layer, per_layer * i.astype(jnp.uint32))

    return jax.lax.fori_loop(0, x.shape[0], add, jnp.uint32(0))


def _weighted_sum(x: jax.Array, start: jax.Array) -> jax.Array:
    """Return the fingerprint of ``x`` as a part whose first element has the position ``start``."""
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
    # The position from one iota a dimension: flattening a sharded array would gather it.
    position = jnp.zeros(x.shape, jnp.uint32)
    for dimension, size in enumerate(x.shape):
        position = position * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, x.shape, dimension)
    return jnp.sum(bits * ((position + start) * jnp.uint32(_MULTIPLIER) | jnp.uint32(1)), dtype=jnp.uint32)
