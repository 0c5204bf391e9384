"""Bytes that a train step reads from and writes to main memory on one device, estimated from the shapes.

Elementwise work is taken to be fused into the products next to it, as XLA does, and a part of every array to
stay on the chip, unless it is kept for the backward pass.
"""

from collections.abc import Callable, Sequence

from t5lite.models.config import Remat
from t5lite.planning.hardware.chips import Chip
from t5lite.planning.predicted.layer_shapes import CrossShape, LayerShape
from t5lite.planning.predicted.logits_shape import LogitsShape
from t5lite.planning.predicted.remat import KEEPS_KERNELS, MAKES_PRODUCTS
from t5lite.planning.predicted.state_shards import StateShards

_FLOAT32 = 4
_HELD = 1 / 8
"""Share of the chip's own memory in which an array was seen to wait for the next instruction: 16 of a v5e's
128 MiB, by what its compiler made."""
_LOGITS_PASSES = 6
"""Written; read for maximum, sum and gradient; the gradient written, and read by two products, some fused."""
_BACKWARD = 1
"""Gradients of activations are read and written about as often as activations in a forward pass; for those of
kernels as much is read again."""
_FORWARD_PASSES: dict[Remat, float] = {"none": 1.0, "gathered": 1.5, "dots": 1.5, "save": 2.0, "full": 2.0}
"""Forward passes over the layers; recomputing all but products is half of one."""


def state_traffic(state: StateShards) -> float:
    """Return the bytes of one update, which reads the gradients for their norm first."""
    return 2 * state.gradients + 3 * state.updated + 2 * state.optimizer


def kernel_traffic(state: StateShards, remat: Remat) -> float:
    """Return the bytes of kernels and their gradients in one microbatch."""
    is_gathered = any(state.gathered.values())
    forward = (2 + is_gathered) * state.kernels  # cast, and read
    is_gathered_again = is_gathered and remat not in KEEPS_KERNELS
    again = (1 + (remat in MAKES_PRODUCTS) + is_gathered_again) * state.kernels_again
    return forward + again + state.gradients


def spills(chip: Chip) -> Callable[[float], float]:
    """Return what of an array, in bytes, leaves a chip between the instructions that write and read it."""
    held = _HELD * chip.on_chip_bytes
    return lambda num_bytes: max(0.0, num_bytes - held)


def activation_traffic(
    layers: Sequence[LayerShape], remat: Remat, spilled: Callable[[float], float], *, saved: float
) -> float:
    """Return the bytes of activations in one microbatch, forward and backward.

    Args:
      layers: one shape a kind of layers.
      remat: the policy.
      spilled: of the chip (``spills``).
      saved: bytes that are kept for the backward pass: written, and read there.
    """
    backward = _FORWARD_PASSES[remat] + _BACKWARD
    passes = [backward + layer.trained if layer.through else _FORWARD_PASSES["none"] for layer in layers]
    return 2 * saved + sum(
        number * layer.num_layers * _forward(layer, spilled)
        for number, layer in zip(passes, layers, strict=True)
    )


def logits_traffic(logits: LogitsShape | None, spilled: Callable[[float], float]) -> float:
    """Return the bytes of the logits, and of their input's gradient, a sum over chunks."""
    if logits is None:
        return 0.0
    passes = _LOGITS_PASSES * spilled(_FLOAT32 * logits.tokens * logits.chunk)
    if logits.in_chunks:
        passes += 2 * spilled(_FLOAT32 * logits.tokens * logits.width)
    return logits.num_chunks * passes


def _forward(layer: LayerShape, spilled: Callable[[float], float]) -> float:
    """Return the bytes of one layer's forward pass."""
    residual, whole, hidden = spilled(layer.residual), spilled(layer.whole), spilled(layer.hidden)
    norms_and_sums = layer.num_norms * (3 * residual + whole)
    attention = _attention(layer, layer.whole, layer.itemsize, spilled)
    if layer.cross is not None:
        attention += _attention(layer.cross, layer.cross.encoded, layer.itemsize, spilled)
    mlp = layer.num_inputs * (whole + hidden) + (layer.num_inputs + 1) * hidden
    return norms_and_sums + attention + mlp


def _attention(
    attention: LayerShape | CrossShape, memory: float, itemsize: int, spilled: Callable[[float], float]
) -> float:
    """Return the bytes of projections, and of float32 logits that are written once and read twice."""
    inputs = spilled(attention.whole) + 2 * spilled(memory)
    projections = inputs + 2 * (2 * spilled(attention.query) + 2 * spilled(attention.key_value / 2))
    if attention.fused:
        return projections
    logits = spilled(attention.weights * _FLOAT32 / itemsize)
    return projections + 3 * logits + 2 * spilled(attention.weights)
