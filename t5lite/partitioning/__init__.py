"""Devices and meshes, logical-axis rules, multi-host start-up."""

from t5lite.partitioning.mesh import AXES, PartitioningConfig, make_mesh, mesh_shape
from t5lite.partitioning.rules import (
    Partitioner,
    abstract_partitioner,
    constrain,
    make_partitioner,
)

__all__ = [
    "AXES",
    "Partitioner",
    "PartitioningConfig",
    "abstract_partitioner",
    "constrain",
    "make_mesh",
    "make_partitioner",
    "mesh_shape",
]
