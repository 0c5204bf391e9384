"""Which tensors of a Hugging Face model hold which parameters here, as data that works both ways.

A parameter here is one array with its layers stacked in front and its axes apart (``[N, D, H, K]``);
there it is a matrix a layer, its heads and kv merged, in ``[out, in]`` or ``[in, out]`` order, or a part of
a matrix that holds several. A family is a list of ``Rule``s; ``plan`` makes of them the tensors of one model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from t5lite.interop.trees import Shape

Layout = Literal["table", "vector", "linear", "conv1d"]
"""Of a tensor: an array as it is here; a vector of all axes; torch's ``[out, in]``; GPT-2's ``[in, out]``."""


@dataclass(frozen=True)
class Rule:
    """One tensor (one a layer, where its name has ``{}``) and the parameters in it.

    Attributes:
      tensor: its name, ``{}`` for the number of the layer.
      leaves: paths of the parameters; several lie side by side along the tensor's output.
      layout: how they lie in it.
      input_axes: how many leading axes of a kernel are its input (2 of attention's ``out`` [H, K, D]).
    """

    tensor: str
    leaves: tuple[str, ...]
    layout: Layout
    input_axes: int = 1


def table(tensor: str, leaf: str) -> Rule:
    """Return the rule of an array that is the same in both."""
    return Rule(tensor, (leaf,), "table")


def vector(tensor: str, *leaves: str) -> Rule:
    """Return the rule of a bias or a norm's scale."""
    return Rule(tensor, leaves, "vector")


def linear(tensor: str, *leaves: str, input_axes: int = 1) -> Rule:
    """Return the rule of a ``torch.nn.Linear`` weight."""
    return Rule(tensor, leaves, "linear", input_axes)


def conv1d(tensor: str, *leaves: str, input_axes: int = 1) -> Rule:
    """Return the rule of a weight of GPT-2's ``Conv1D``."""
    return Rule(tensor, leaves, "conv1d", input_axes)


def dense(tensor: str, leaf: str, *, bias: str, input_axes: int = 1) -> tuple[Rule, Rule]:
    """Return the rules of a ``torch.nn.Linear`` with its bias."""
    return linear(f"{tensor}.weight", leaf, input_axes=input_axes), vector(f"{tensor}.bias", bias)


def norm(tensor: str, leaf: str) -> tuple[Rule, Rule]:
    """Return the rules of a norm's scale and bias; of an RMSNorm only the first applies."""
    return vector(f"{tensor}.weight", f"{leaf}/scale"), vector(f"{tensor}.bias", f"{leaf}/bias")


@dataclass(frozen=True)
class Part:
    """One layer of one parameter (or a whole one without layers) as a part of a tensor."""

    path: str
    layer: int | None
    shape: Shape


@dataclass(frozen=True)
class Tensor:
    """One tensor of a given model: its name and shape there, and the parameters in it."""

    name: str
    parts: tuple[Part, ...]
    layout: Layout
    input_axes: int

    @property
    def shape(self) -> Shape:
        """Shape in the file."""
        if self.layout == "table":
            return self.parts[0].shape
        inputs, outputs = self._inputs, sum(self._widths)
        if self.layout == "vector":
            return (outputs,)
        return (outputs, inputs) if self.layout == "linear" else (inputs, outputs)

    def pack(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Return the tensor of the parts' values; it may be a view."""
        if self.layout == "table":
            return values[0]
        if self.layout == "vector":
            return _joined([value.reshape(-1) for value in values])
        matrix = _joined([value.reshape(self._inputs, -1) for value in values])
        return matrix.T if self.layout == "linear" else matrix

    def unpack(self, tensor: np.ndarray) -> list[np.ndarray]:
        """Return the parts' values, views of ``tensor``."""
        if self.layout == "table":
            return [tensor]
        matrix = tensor.T if self.layout == "linear" else tensor
        ends = np.cumsum(self._widths)[:-1]
        pieces = np.split(matrix, ends, axis=-1) if len(self.parts) > 1 else [matrix]
        return [piece.reshape(part.shape) for piece, part in zip(pieces, self.parts, strict=True)]

    @property
    def _inputs(self) -> int:
        return 1 if self.layout == "vector" else math.prod(self.parts[0].shape[: self.input_axes])

    @property
    def _widths(self) -> list[int]:
        return [math.prod(part.shape) // self._inputs for part in self.parts]


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)


def plan(rules: Sequence[Rule], shapes: Mapping[str, Shape]) -> list[Tensor]:
    """Return the tensors of the model whose parameters have ``shapes``: whole ones first, then by layer.

    A rule for parameters that the model lacks (a bias, a head) makes no tensor.

    Raises:
      ValueError: if a parameter has no rule or several (a fault of the family's rules).
    """
    used = [rule for rule in rules if any(leaf in shapes for leaf in rule.leaves)]
    covered = sorted(leaf for rule in used for leaf in rule.leaves)
    if covered != sorted(shapes):
        raise ValueError(f"the rules cover {covered}, the model has {sorted(shapes)}")
    whole = [_tensor(rule, None, shapes) for rule in used if "{}" not in rule.tensor]
    stacked = [rule for rule in used if "{}" in rule.tensor]
    depth = max((shapes[rule.leaves[0]][0] for rule in stacked), default=0)
    return whole + [
        _tensor(rule, layer, shapes)
        for layer in range(depth)
        for rule in stacked
        if layer < shapes[rule.leaves[0]][0]
    ]


def _tensor(rule: Rule, layer: int | None, shapes: Mapping[str, Shape]) -> Tensor:
    name = rule.tensor if layer is None else rule.tensor.format(layer)
    parts = tuple(
        Part(leaf, layer, shapes[leaf] if layer is None else shapes[leaf][1:]) for leaf in rule.leaves
    )
    return Tensor(name, parts, rule.layout, rule.input_axes)
