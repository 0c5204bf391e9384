"""Bytes of memory that a train step takes on one device, estimated from the shapes.

Parameters and optimizer state are exact. The rest follows what the compiler was seen to keep: activations in
the compute dtype, gradients and logits in float32, these in the chunks that the step makes them in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from t5lite.models.config import Remat
from t5lite.planning.predicted.layer_shapes import LayerShape
from t5lite.planning.predicted.logits_shape import LogitsShape
from t5lite.planning.predicted.remat import kept_bytes

FLOAT32 = 4
_LOGITS_COPIES = 2
"""The logits and their gradient are there together."""
_WORKING_WEIGHTS = 2
"""Float32 arrays of the size of the attention weights at the height of a layer's backward pass."""
_WORKING_HIDDEN = 4
"""Arrays of the MLP's hidden size at the height of a layer's backward pass."""
_WORKING_KERNELS = 2
"""Layers whose gathered kernels are there at once: one is computed with, the next is on its way."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on one device."""

    parameters: float
    optimizer: float
    gradients: float
    saved_activations: float
    """What the forward pass keeps for the backward pass, of one microbatch."""
    saved_kernels: float
    """The layers' kernels, where they are kept as they were gathered."""
    working: float
    """Of the layer at work: recomputed activations and gathered kernels."""
    logits: float

    @property
    def total(self) -> float:
        """The peak: the logits are gone when the first layer's backward pass needs its working arrays."""
        held = self.parameters + self.optimizer + self.gradients + self.saved_activations + self.saved_kernels
        return held + max(self.working, self.logits)

    def parts(self) -> dict[str, float]:
        """Return the bytes by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def saved_activations(layers: Sequence[LayerShape], remat: Remat) -> float:
    """Return the bytes kept for the backward pass by all stacks, a shape for each kind of their layers.

    Nothing is kept of layers that no gradient passes through.
    """
    total = 0.0
    for layer in layers:
        if not layer.through:
            continue
        kept = _everything(layer) if remat == "none" else kept_bytes(layer, remat)
        total += layer.num_layers * kept
    for cross in [layer.cross for layer in layers if layer.cross is not None and layer.through][:1]:
        # The encoder's output, which every layer of the decoder reads; gathered too where it is split.
        total += layers[0].residual + (cross.encoded if cross.encoded > layers[0].residual else 0.0)
    return total


def working_activations(layers: Sequence[LayerShape]) -> float:
    """Return the bytes of activations at the height of the pass of the layer that needs most."""
    return max(_working(layer) for layer in layers)


def _everything(layer: LayerShape) -> float:
    """Return the bytes that the backward pass of one layer reads, where nothing is made again.

    What only kernels are multiplied with is read for their gradients alone: outputs of norms, of attention
    in front of its output kernel, of the MLP's activation.
    """
    for_kernels = float(layer.trained > 0)
    norms = layer.num_norms * (layer.residual + for_kernels * layer.whole)
    attention = (1 + for_kernels) * layer.query + layer.key_value
    weights = _visible_weights(layer)
    if layer.cross is not None:
        attention += (1 + for_kernels) * layer.cross.query + layer.cross.key_value
    attention += sum(weights) * (1 + FLOAT32 / layer.itemsize)
    hidden = (layer.num_inputs + for_kernels) * layer.hidden
    return norms + attention + hidden


def _working(layer: LayerShape) -> float:
    if not layer.through:
        return _working_forward(layer)
    inputs = 2 * layer.query + 2 * layer.key_value
    if layer.cross is not None:
        inputs = max(inputs, 2 * layer.cross.query + 2 * layer.cross.key_value)
    weights = max(_visible_weights(layer))
    attention = inputs + 2 * layer.whole + _WORKING_WEIGHTS * weights * FLOAT32 / layer.itemsize
    mlp = _WORKING_HIDDEN * layer.hidden + 2 * layer.whole
    return max(attention, mlp)


def _working_forward(layer: LayerShape) -> float:
    cross = 0.0 if layer.cross is None else layer.cross.key_value
    weights = max(_visible_weights(layer)) * FLOAT32 / layer.itemsize
    attention = layer.query + max(layer.key_value, cross) + layer.whole + weights
    return max(attention, (layer.num_inputs + 1) * layer.hidden + layer.whole)


def _visible_weights(layer: LayerShape) -> tuple[float, float]:
    """Return the bytes of the weights that reach main memory, of self- and of cross-attention."""
    own = 0.0 if layer.fused else layer.weights
    return own, 0.0 if layer.cross is None or layer.cross.fused else layer.cross.weights


def working_kernels(largest_layer_kernels: float) -> float:
    """Return the bytes of gathered kernels, from those of the largest layer."""
    return _WORKING_KERNELS * largest_layer_kernels


def logits_memory(logits: LogitsShape | None) -> float:
    """Return the bytes of the logits that are there at once; in chunks, of their input's gradient, a sum."""
    if logits is None:
        return 0.0
    summed = logits.width * logits.in_chunks
    return FLOAT32 * logits.tokens * (_LOGITS_COPIES * logits.chunk + summed)
