"""What a remat policy keeps of a layer for the backward pass, and what it makes again."""

from t5lite.models.config import Remat
from t5lite.models.flops import LayerFlops
from t5lite.planning.predicted.layer_shapes import LayerShape

KEPT: dict[Remat, tuple[str, ...]] = {
    "dots": ("query", "key", "value", "attention_out", "mlp_wi"),
    "full": (),
}
"""Names of the products whose results are kept besides the layer's input; ``none`` keeps everything."""
PLANNED: tuple[Remat, ...] = ("none", *KEPT)
"""Policies that are compared."""


def recomputed_flops(layers: LayerFlops, remat: Remat) -> float:
    """Return the FLOPs of what is made again; the last product of a layer never is, for nothing reads it."""
    if remat == "none":
        return 0.0
    spared = (*KEPT[remat], "mlp_wo")
    return sum(flops for name, flops in layers._asdict().items() if name not in spared)


def kept_bytes(layer: LayerShape, remat: Remat) -> float:
    """Return the bytes of one layer's kept arrays, its input included; not for policy ``none``."""
    sizes = {
        "query": layer.query,
        "key": layer.key_value / 2,
        "value": layer.key_value / 2,
        "context": layer.query,
        # Needed as far as another block reads the sum.
        "attention_out": layer.residual * (layer.num_blocks > 1),
        "mlp_wi": layer.num_inputs * layer.hidden,
    }
    total = layer.residual + sum(sizes[name] for name in KEPT[remat])
    if layer.cross is None:
        return total
    sizes |= {"key": layer.cross.key_value / 2, "value": layer.cross.key_value / 2, "mlp_wi": 0.0}
    return total + sum(sizes[name] for name in KEPT[remat])
