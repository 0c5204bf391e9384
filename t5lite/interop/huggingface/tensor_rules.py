"""Which tensors of a Hugging Face model hold which parameters here, as data that works both ways.

A kernel here is one array ``[in, out]`` with its layers stacked in front (``[N, D, J]``); there it is a
matrix a layer, in ``[out, in]`` or ``[in, out]`` order, or a part of a matrix that holds several. A family is
a list of ``Rule``s; ``plan`` makes of them the tensors of one model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.interop.trees import Shape


@dataclass(frozen=True)
class Rule:
    """One tensor (one a layer, where its name has ``{}``) and the parameters in it.

    Attributes:
      tensor: its name, ``{}`` for the number of the layer.
      leaves: paths of the parameters; several lie side by side along the tensor's output.
      transposed: whether it is ``[out, in]``, as in torch.
    """

    tensor: str
    leaves: tuple[str, ...]
    transposed: bool = False


def table(tensor: str, leaf: str) -> Rule:
    """Return the rule of an array that is the same in both."""
    return Rule(tensor, (leaf,))


def vector(tensor: str, *leaves: str) -> Rule:
    """Return the rule of a bias or a norm's scale."""
    return Rule(tensor, leaves)


def linear(tensor: str, *leaves: str) -> Rule:
    """Return the rule of a ``torch.nn.Linear`` weight."""
    return Rule(tensor, leaves, transposed=True)


def conv1d(tensor: str, *leaves: str) -> Rule:
    """Return the rule of a weight of GPT-2's ``Conv1D``."""
    return Rule(tensor, leaves)


def dense(tensor: str, leaf: str, *, bias: str) -> tuple[Rule, Rule]:
    """Return the rules of a ``torch.nn.Linear`` with its bias."""
    return linear(f"{tensor}.weight", leaf), vector(f"{tensor}.bias", bias)


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
    transposed: bool

    @property
    def shape(self) -> Shape:
        """Shape in the file."""
        shape = (*self.parts[0].shape[:-1], sum(self._widths))
        return shape[::-1] if self.transposed else shape

    def pack(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Return the tensor of the parts' values; it may be a view."""
        joined = values[0] if len(values) == 1 else np.concatenate(values, axis=-1)
        return joined.T if self.transposed else joined

    def unpack(self, tensor: np.ndarray) -> list[np.ndarray]:
        """Return the parts' values, views of ``tensor``."""
        joined = tensor.T if self.transposed else tensor
        return np.split(joined, np.cumsum(self._widths)[:-1], axis=-1)

    @property
    def _widths(self) -> list[int]:
        return [part.shape[-1] for part in self.parts]


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
    return Tensor(name, parts, rule.transposed)
