"""Bytes of activations that cross each mesh axis: what tensor and sequence parallelism cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t5lite.models.config import Remat
from t5lite.partitioning import Partitioner
from t5lite.planning.hardware.links import ring_share
from t5lite.planning.predicted.layer_shapes import LayerShape
from t5lite.planning.predicted.remat import MAKES_PRODUCTS
from t5lite.planning.predicted.state_shards import mesh_axes


@dataclass(frozen=True)
class Placement:
    """What the mesh axes of more than one device split; with each the share that is sent (``ring_share``)."""

    heads: Mapping[str, float]
    length: Mapping[str, float]
    """Of queries."""
    residual: Mapping[str, float]
    """Length of the residual stream."""

    @classmethod
    def of(cls, partitioner: Partitioner) -> "Placement":
        """Return the placement of a partitioner, whose mesh may be abstract."""
        sizes = partitioner.mesh.shape
        residual = partitioner.activation_spec(("batch", "length", "embed"))
        inner = partitioner.activation_spec(("batch", "length", "heads", "kv"))

        def shares(entry: str | tuple[str, ...] | None) -> dict[str, float]:
            return {axis: ring_share(sizes[axis]) for axis in mesh_axes((entry,)) if sizes[axis] > 1}

        return cls(heads=shares(inner[2]), length=shares(inner[1]), residual=shares(residual[1]))


def activation_exchange(
    layers: Sequence[LayerShape], placement: Placement, remat: Remat
) -> Mapping[str, float]:
    """Return the bytes that each device sends along every mesh axis for one microbatch.

    Where heads and the MLP's width are on an axis, outputs of attention and MLP are sums over its devices.
    They come back by all-reduce or, where the residual stream is split along its length, by reduce-scatter,
    with an all-gather in front of the next product (Shoeybi et al. 2019; Korthikanti et al. 2022). Where the
    length is on an axis, keys and values are gathered, and their gradients scattered. The recomputation of
    ``remat`` repeats what it needs.

    Args:
      layers: one shape a kind of layers.
      placement: what the mesh axes split.
      remat: the policy.
    """
    sent: dict[str, float] = {}
    for axis, share in placement.heads.items():
        if axis in placement.residual:
            units = sum(_scattered_units(layer, remat) for layer in layers) + _gathered_once(layers)
        else:
            units = sum(_reduced_units(layer, remat) for layer in layers)
        sent[axis] = share * units
    for axis, share in placement.length.items():
        sent[axis] = share * sum(_key_value_units(layer, remat) for layer in layers)
    return sent


def _reduced_units(layer: LayerShape, remat: Remat) -> float:
    """Return the bytes that all-reduces of a stack work on, twice, since they send twice as much."""
    forward = layer.num_blocks
    if not layer.through:
        return 2 * layer.num_layers * forward * layer.whole
    # The last sum of a layer is its result, which nothing in its recomputation reads.
    recomputed = forward - 1 if remat in MAKES_PRODUCTS else 0
    return 2 * layer.num_layers * ((2 * forward + recomputed) * layer.whole + _encoded_gradient(layer))


def _scattered_units(layer: LayerShape, remat: Remat) -> float:
    """Return the bytes that all-gathers and reduce-scatters of a stack work on."""
    blocks = layer.num_blocks
    if not layer.through:
        return layer.num_layers * 2 * blocks * layer.whole
    passes = 4 * blocks  # a gather and a scatter each, forward and backward
    if remat in MAKES_PRODUCTS:
        passes += 2 * blocks - 1
    elif remat in ("gathered", "dots"):
        passes += blocks  # the norms' outputs are not kept, and products' gradients need them whole
    return layer.num_layers * (passes * layer.whole + _encoded_gradient(layer))


def _gathered_once(layers: Sequence[LayerShape]) -> float:
    """Return the bytes of the encoder's output, gathered once for all; each layer scatters its gradient."""
    return next((layer.cross.encoded for layer in layers if layer.cross is not None), 0.0)


def _encoded_gradient(layer: LayerShape) -> float:
    return 0.0 if layer.cross is None else layer.cross.encoded * layer.cross.encoded_gradient


def _key_value_units(layer: LayerShape, remat: Remat) -> float:
    passes = 1 if not layer.through else 3 if remat == "full" else 2
    cross = layer.cross.key_value if layer.cross is not None else 0.0
    return layer.num_layers * passes * (layer.key_value + cross)
