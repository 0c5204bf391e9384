"""Whether replicas hold the same bits, as every program takes for granted and faulty hardware may break.

An array that is not divided over an axis of the mesh is there once for every place on that axis, and all
later arithmetic takes the copies for one and the same number. A core, memory or link that computes or
carries a wrong bit in silence (Hochschild et al. 2021, "Cores that don't count"; Dixit et al. 2021) breaks
that, and nothing in the loss tells for a long time. So the copies are compared, by a number an array and
device: one pass over the memory, and a few kilobytes between the devices.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5lite.checkpointing.fingerprint import fingerprint
from t5lite.checkpointing.reading import leaf_names, listed
from t5lite.core.errors import TransientError
from t5lite.core.types import Tree


class ReplicaCheck:
    """Compares the replicas of the arrays of a tree: every process makes the same calls, and learns the same.

    Args:
      tree: arrays with ``NamedSharding``s over one mesh; those that are checked have the same shapes and
        shardings.
      every_steps: how often its owner means to check.
    """

    def __init__(self, tree: Tree, every_steps: int) -> None:
        self.every_steps = every_steps
        leaves = jax.tree.leaves(tree)
        self._names = leaf_names(tree)
        mesh = leaves[0].sharding.mesh
        self._devices = mesh.devices.flatten().tolist()
        specs = tuple(leaf.sharding.spec for leaf in leaves)
        self._fingerprints = _fingerprints_of_devices(mesh, specs)
        # [leaves, devices]: the number of the first device that holds the same part of the array.
        self._first = np.array([_first_holders(leaf, self._devices) for leaf in leaves])

    @property
    def num_replicated(self) -> int:
        """How many arrays have replicas at all."""
        return int((self._first != np.arange(len(self._devices))).any(axis=1).sum())

    def check(self, tree: Tree, step: int) -> None:
        """Check that all replicas are equal; waits for the arrays.

        Raises:
          TransientError: naming the arrays, and the devices that differ from most. The hardware is at fault,
            not the run, which goes on from its newest checkpoint, best on another machine.
        """
        values = np.asarray(jax.device_get(self._fingerprints(tuple(jax.tree.leaves(tree))))).T
        differs = (values != np.take_along_axis(values, self._first, axis=1)).any(axis=1)
        if not differs.any():
            return
        arrays = [self._names[leaf] for leaf in np.flatnonzero(differs)]
        numbers = {
            number
            for leaf in np.flatnonzero(differs)
            for number in _outvoted(values[leaf], self._first[leaf])
        }
        devices = [
            f"{self._devices[number]} of process {self._devices[number].process_index}"
            for number in sorted(numbers)
        ]
        raise TransientError(
            f"after step {step} {len(arrays)} of {len(self._names)} arrays ({listed(arrays)}) are not the "
            f"same bits on all devices that hold them; {listed(devices)} differ from most: memory, a core or "
            "a link there is faulty. This state is not saved; run the same command again, which goes on from "
            "the newest checkpoint, and without that machine if it is named again"
        )


def _fingerprints_of_devices(mesh: Mesh, specs: tuple[PartitionSpec, ...]) -> "jax.stages.Wrapped":
    """Return the jitted function ``leaves -> uint32 [devices, leaves]``, the result replicated."""

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(specs,), out_specs=PartitionSpec(mesh.axis_names), check_vma=False
    )
    def of_own_part(leaves: tuple[jax.Array, ...]) -> jax.Array:
        return jnp.stack([fingerprint(leaf) for leaf in leaves])[None, :]

    return jax.jit(of_own_part, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _first_holders(leaf: jax.Array, devices: Sequence[Any]) -> list[int]:
    """Return for every device the number of the first that holds the same part of ``leaf``."""
    parts = leaf.sharding.devices_indices_map(leaf.shape)
    first: dict[str, int] = {}
    return [first.setdefault(str(parts[device]), number) for number, device in enumerate(devices)]


def _outvoted(values: np.ndarray, first: np.ndarray) -> list[int]:
    """Return the devices whose value most holders of the same part have not: all, where there is no most."""
    outvoted = []
    for group in np.unique(first):
        members = np.flatnonzero(first == group)
        (value, count), *_ = Counter(values[members].tolist()).most_common(1)
        if count == len(members):
            continue
        has_most = 2 * count > len(members)
        outvoted += [int(member) for member in members if not has_most or values[member] != value]
    return outvoted
