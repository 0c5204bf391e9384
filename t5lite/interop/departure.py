"""Parameters leaving for files: one layer or one whole array at a time, in the dtype of the export."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import ml_dtypes
import numpy as np

from t5lite.core.storage.addresses import StoragePath
from t5lite.interop.trees import has_layers

logger = logging.getLogger(__name__)

DTYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
"""Dtypes that weights can be exported in."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What ``export_folder`` of a format wrote.

    Attributes:
      folder: where it is.
      files: names of its files.
      num_params: number of exported values; a tied embedding counts once.
      num_bytes: size of the weights.
      overflows: by tensor, how many finite values became infinite in the exported dtype (float16 only).
      class_name: the class that loads it.
      after_loading: what to do with the loaded model, and why; empty where there is nothing to do.
    """

    folder: StoragePath
    files: tuple[str, ...]
    num_params: int
    num_bytes: int
    overflows: Mapping[str, int]
    class_name: str
    after_loading: str = ""


def on_host(leaf: Any, layer: int | None) -> np.ndarray:
    """Return an array, or one layer of it (an index of its first axis), as NumPy.

    Args:
      leaf: a NumPy array, or a JAX array of any sharding that this process can address.
      layer: which layer; None returns the whole.
    """
    if layer is None:
        return np.asarray(leaf)
    if isinstance(leaf, jax.Array):
        return np.asarray(_get_layer(leaf, layer))
    return np.asarray(leaf[layer])


def layers_on_host(name: str, leaf: Any) -> Iterator[np.ndarray]:
    """Yield the parameter ``name`` as NumPy, one layer at a time if it has layers."""
    for layer in range(np.shape(leaf)[0]) if has_layers(name) else (None,):
        yield on_host(leaf, layer)


class Cast:
    """Casts arrays to one dtype and counts what overflows.

    Attributes:
      dtype: the dtype.
      overflows: by name, how many finite values became infinite.
    """

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype = dtype
        self.overflows: dict[str, int] = {}

    def __call__(self, name: str, value: np.ndarray) -> np.ndarray:
        """Return ``value`` in the dtype, itself if it has it; parts of one array may come one by one."""
        with np.errstate(over="ignore"):
            cast = value.astype(self.dtype, copy=False)
        if self.dtype == np.float16 and (grown := _num_infinite(cast) - _num_infinite(value)):
            self.overflows[name] = self.overflows.get(name, 0) + grown
        return cast

    def warn(self) -> None:
        """Say in a warning what has overflown, if anything has."""
        if self.overflows:
            logger.warning(
                "%d tensors overflow to infinity in %s (%s); export in bfloat16 or float32 instead",
                len(self.overflows),
                self.dtype.name,
                ", ".join(f"{name}: {count} values" for name, count in self.overflows.items()),
            )


@jax.jit
def _get_layer(stacked: jax.Array, index: int | jax.Array) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(stacked, index, keepdims=False)


def _num_infinite(array: np.ndarray) -> int:
    return int(np.isinf(array).sum())
