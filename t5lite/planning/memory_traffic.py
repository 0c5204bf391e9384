"""Bytes that a train step reads from and writes to main memory on one device, estimated from the shapes.

Elementwise work is taken to be fused into the products next to it, as XLA does; attention weights go through
memory unless the attention is fused.
"""

from collections.abc import Sequence

from t5lite.models.config import Remat
from t5lite.planning.layer_shapes import LayerShape
from t5lite.planning.state_shards import StateShards

_FLOAT32 = 4
_LOGITS_PASSES = 6
"""Written; read for maximum, sum and gradient; the gradient written, and read by two products, some fused."""
_BACKWARD = 2
"""A backward pass reads and writes about twice what a forward pass does."""
_FORWARD_PASSES = {"none": 1.0, "dots": 1.5, "full": 2.0}
"""Forward passes over the layers; recomputing all but products is half of one."""


def state_traffic(state: StateShards) -> float:
    """Return the bytes of one update, which reads the gradients for their norm first."""
    return 2 * state.gradients + 3 * state.parameters + 2 * state.optimizer


def kernel_traffic(state: StateShards, remat: Remat) -> float:
    """Return the bytes of kernels and their gradients in one microbatch."""
    reads = 2 + (remat == "full")
    is_gathered = any(state.gathered.values())
    return (reads + 2 * is_gathered + 1) * state.kernels + state.gradients


def activation_traffic(layers: Sequence[LayerShape], remat: Remat, *, fused_attention: bool) -> float:
    """Return the bytes of activations in one microbatch, forward and backward."""
    passes = _FORWARD_PASSES.get(remat, 1.0) + _BACKWARD
    return passes * sum(layer.num_layers * _forward(layer, fused_attention) for layer in layers)


def logits_traffic(elements: float) -> float:
    """Return the bytes of the logits of one microbatch on a device."""
    return _LOGITS_PASSES * _FLOAT32 * elements


def _forward(layer: LayerShape, fused_attention: bool) -> float:
    """Return the bytes of one layer's forward pass."""
    norms = layer.num_norms * (layer.residual + layer.whole)
    adds = layer.num_norms * 2 * layer.residual
    attention = _attention(layer, layer.whole, layer.key_value, layer.weights, fused_attention)
    if layer.cross is not None:
        cross = layer.cross
        attention += _attention(layer, cross.encoded, cross.key_value, cross.weights, fused_attention)
    mlp = layer.num_inputs * (layer.whole + layer.hidden) + (layer.num_inputs + 1) * layer.hidden
    return norms + adds + attention + mlp


def _attention(
    layer: LayerShape, memory: float, key_value: float, weights: float, fused_attention: bool
) -> float:
    """Return the bytes of projections, and of float32 logits that are written once and read twice."""
    projections = layer.whole + 2 * memory + 2 * (2 * layer.query + key_value)
    if fused_attention:
        return projections
    return projections + weights * (3 * _FLOAT32 / layer.itemsize + 2)
