"""Parameters to tensors and back, one tensor at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from t5lite.core.types import Tree
from t5lite.interop.arrival import empty
from t5lite.interop.departure import Cast, on_host
from t5lite.interop.finiteness import NonFinite
from t5lite.interop.huggingface.stored_tensors import Stored
from t5lite.interop.huggingface.tensor_rules import Part, Placeholder, Tensor
from t5lite.interop.trees import flatten, insert


def tensor_stream(
    params: Tree, tensors: Sequence[Tensor | Placeholder], cast: Cast
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a model by name, in order, each made when it is asked for.

    Args:
      params: nested dict of NumPy or (possibly sharded, addressable) JAX arrays.
      tensors: what to make of them.
      cast: gives them their dtype.
    """
    leaves = dict(flatten(params))
    for tensor in tensors:
        packed = tensor.pack([on_host(leaves[part.path], part.layer) for part in tensor.parts])
        yield tensor.name, cast(tensor.name, packed)


def read_params(
    stored: Mapping[str, Stored],
    tensors: Sequence[Tensor],
    abstract_params: Tree,
    *,
    shardings: Tree | None = None,
) -> Tree:
    """Return the parameters that ``stored`` holds, in the shapes and dtypes of ``abstract_params``.

    Besides the result, memory holds one tensor at a time. What is not finite is counted as it passes, after
    the cast, so that all of it is known by name without reading twice.

    Args:
      stored: the tensors by name; all of ``tensors`` are there, in the right shapes.
      tensors: the model's tensors (see ``tensor_rules.plan``).
      abstract_params: shape and dtype of each parameter.
      shardings: where to put each parameter; None leaves them on the host as NumPy arrays.

    Raises:
      CheckpointError: if any of them is not finite.
    """
    found = NonFinite()
    abstract = dict(flatten(abstract_params))
    leaves = _HostLeaves(abstract) if shardings is None else _MeshLeaves(abstract, dict(flatten(shardings)))
    for tensor in tensors:
        pieces = tensor.unpack(stored[tensor.name].whole)
        for part, piece in zip(tensor.parts, pieces, strict=True):
            with np.errstate(over="ignore"):
                value = piece.astype(abstract[part.path].dtype, copy=False)
            found.see(tensor.name, value)
            leaves.put(part, value)
            del value
        del pieces
    found.refuse(
        "the weights are not imported",
        "fetch the folder again and compare checksums, or take a checkpoint of before the training diverged",
    )
    params: dict[str, Any] = {}
    for path in abstract:
        insert(params, path, leaves.arrays[path])
    return params


class _HostLeaves:
    """NumPy arrays, filled layer by layer."""

    def __init__(self, abstract: Mapping[str, Any]):
        self.arrays: dict[str, np.ndarray] = {}
        self._abstract = abstract

    def put(self, part: Part, value: np.ndarray) -> None:
        if part.layer is None:
            self.arrays[part.path] = np.ascontiguousarray(value)
            return
        if part.path not in self.arrays:
            leaf = self._abstract[part.path]
            self.arrays[part.path] = empty(leaf.shape, leaf.dtype)
        self.arrays[part.path][part.layer] = value


class _MeshLeaves:
    """Sharded arrays, filled layer by layer in place; each process copies its own devices' parts only."""

    def __init__(self, abstract: Mapping[str, Any], shardings: Mapping[str, NamedSharding]):
        self.arrays: dict[str, jax.Array] = {}
        self._abstract = abstract
        self._shardings = shardings

    def put(self, part: Part, value: np.ndarray) -> None:
        sharding, leaf = self._shardings[part.path], self._abstract[part.path]
        if part.layer is None:
            self.arrays[part.path] = _distribute(value, sharding)
            return
        if part.path not in self.arrays:
            self.arrays[part.path] = jax.jit(
                lambda: jnp.zeros(leaf.shape, leaf.dtype), out_shardings=sharding
            )()
        layer_sharding = NamedSharding(sharding.mesh, PartitionSpec(*sharding.spec[1:]))
        stacked = _set_layer(self.arrays.pop(part.path), _distribute(value, layer_sharding), part.layer)
        # Else the layers that wait to be copied pile up on the host.
        self.arrays[part.path] = stacked.block_until_ready()


def _distribute(value: np.ndarray, sharding: NamedSharding) -> jax.Array:
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


@jax.jit(donate_argnums=0)
def _set_layer(stacked: jax.Array, layer: jax.Array, index: int | jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(stacked, layer, index, 0)
