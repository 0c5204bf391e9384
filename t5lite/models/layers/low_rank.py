"""A kernel with a low-rank update beside it, as a layer holds one in the place of a kernel (LoRA)."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import jax

from t5lite.models.layers.dropout import dropout


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRankKernel:
    """``W + scale A B``, not added up: products with activations take both ways (Hu et al. 2021).

    So no gradient of W's size is made where W is frozen. It stands where a kernel's array does, and a loop
    over layers runs through its arrays as through any.
    """

    kernel_IO: jax.Array
    """W, ``[inputs, outputs]``; in a stack all have the layers in front."""
    a_IR: jax.Array
    b_RO: jax.Array
    key_data: jax.Array | None
    """uint32, of the dropout; None is deterministic."""
    scale: float = field(metadata={"static": True})
    dropout_rate: float = field(metadata={"static": True})
    """Of what A reads, drawn as everywhere: one mask for all positions."""

    def __getitem__(self, index: Any) -> "LowRankKernel":
        assert index is ..., "a kernel is read whole"
        return self

    def astype(self, dtype: Any) -> "LowRankKernel":
        """Return it in another dtype."""
        arrays = (self.kernel_IO.astype(dtype), self.a_IR.astype(dtype), self.b_RO.astype(dtype))
        return dataclasses.replace(self, kernel_IO=arrays[0], a_IR=arrays[1], b_RO=arrays[2])

    def dropped(self, x_BLI: jax.Array) -> jax.Array:
        """Return what A reads of the activations."""
        if self.key_data is None:
            return x_BLI
        return dropout(x_BLI, self.dropout_rate, jax.random.wrap_key_data(self.key_data))


def whole(kernel: Any) -> jax.Array:
    """Return the array of a kernel: of one with an update beside it, that without the update."""
    return kernel.kernel_IO if isinstance(kernel, LowRankKernel) else kernel


def with_whole(kernel: Any, array: jax.Array) -> Any:
    """Return a kernel with another array, and its update as it is: the inverse of ``whole``."""
    return dataclasses.replace(kernel, kernel_IO=array) if isinstance(kernel, LowRankKernel) else array
