"""What a remat policy keeps of a layer for the backward pass, and what it makes again."""

from t5lite.models.config import LayerSpec, Remat
from t5lite.models.flops import LayerFlops
from t5lite.planning.predicted.layer_shapes import LayerShape

_PRODUCTS = ("query", "key", "value", "attention_out", "mlp_wi", "mlp_wo")
KEPT: dict[Remat, tuple[str, ...]] = {
    "gathered": (*_PRODUCTS, "context"),
    "dots": _PRODUCTS,
    "save": ("key", "value", "context"),
    "full": (),
}
"""Names of the products whose results are kept besides the layer's input; ``none`` keeps everything. What
save keeps is up to whoever asks for it: planned is what spares attention, which long rows make dear."""
MAKES_PRODUCTS: frozenset[Remat] = frozenset({"save", "full"})
"""Policies that make products with kernels again."""
KEEPS_KERNELS: frozenset[Remat] = frozenset({"gathered"})
"""Policies that keep the layers' kernels as they were gathered, for the backward pass not to do it again."""
PLANNED: tuple[Remat, ...] = ("none", *KEPT)
"""Policies that are compared."""


def remat_names(remat: Remat) -> tuple[str, ...]:
    """Return the names that go with a planned policy in an ``Execution``: those of save."""
    return KEPT[remat] if remat == "save" else ()


def recomputed_flops(
    layers: LayerFlops, remat: Remat, *, layer: LayerSpec, trains_attention_out: bool = True
) -> float:
    """Return the FLOPs of what is made again; of the last product of a layer only where a norm reads it.

    Args:
      layers: of a stack.
      remat: the policy.
      layer: one of them.
      trains_attention_out: whether kernels of that product are trained: where it is kept, what is multiplied
        with them is read for their gradients alone.
    """
    if remat == "none":
        return 0.0
    spared = [*KEPT[remat]] if layer.norms_mlp_output else [*KEPT[remat], "mlp_wo"]
    if not trains_attention_out and "attention_out" in spared:
        spared.append("context")
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
        "mlp_wo": layer.residual * layer.norms_mlp_output,
    }
    total = layer.residual + sum(sizes[name] for name in KEPT[remat])
    if layer.cross is None:
        return total
    sizes |= {
        "query": layer.cross.query,
        "key": layer.cross.key_value / 2,
        "value": layer.cross.key_value / 2,
        "context": layer.cross.query,
        "attention_out": layer.cross.residual,
        "mlp_wi": 0.0,
        "mlp_wo": 0.0,
    }
    return total + sum(sizes[name] for name in KEPT[remat])
