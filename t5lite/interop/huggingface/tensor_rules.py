"""Which tensors of a Hugging Face model hold which parameters here, as data that works both ways.

A kernel here is one array ``[in, out]`` with its layers stacked in front (``[N, D, J]``); there it is a
matrix a layer, in ``[out, in]`` or ``[in, out]`` order, or a part of a matrix that holds several. A family is
a list of ``Rule``s; ``plan`` makes of them the tensors of one model.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from t5lite.interop.trees import Shape
from t5lite.models.config import StackSpec
from t5lite.models.layers.groups import structure_groups

_LAYERS = "layers"


@dataclass(frozen=True)
class Rule:
    """One tensor (one a layer, where its name has ``{}``) and the parameters in it.

    Attributes:
      tensor: its name, ``{}`` for the number of the layer.
      leaves: paths of the parameters, those of a stack in SIDE/layers; several lie side by side along the
        tensor's output.
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


@dataclass(frozen=True)
class Placeholder:
    """A tensor of zeros, which holds no parameter."""

    name: str
    shape: Shape
    parts: tuple[Part, ...] = ()

    def pack(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Return it, of no values."""
        del values
        return np.zeros(self.shape, np.float32)


def plan(
    rules: Sequence[Rule], shapes: Mapping[str, Shape], stacks: Sequence[StackSpec] = ()
) -> list[Tensor]:
    """Return the tensors of the model whose parameters have ``shapes``: whole ones first, then by layer.

    A rule for parameters that the model lacks (a bias, a head) makes no tensor. A rule speaks of ``layers``,
    whichever arrays the layers of a stack are in (``layers.groups``).

    Args:
      rules: of the family.
      shapes: of the parameters, by path.
      stacks: of the model.

    Raises:
      ValueError: if a parameter has no rule or several (a fault of the family's rules).
    """
    places = {stack.side: _places(stack) for stack in stacks}
    whole, by_layer = [], []
    for order, rule in enumerate(rules):
        if "{}" not in rule.tensor:
            if any(leaf in shapes for leaf in rule.leaves):
                whole.append(_tensor(rule.tensor, rule, rule.leaves, None, shapes))
            continue
        side, _, _ = rule.leaves[0].partition("/")
        alone = [(_LAYERS, number) for number in range(shapes.get(rule.leaves[0], (0,))[0])]
        for number, (group, index) in enumerate(places.get(side, alone)):
            leaves = tuple(leaf.replace(f"/{_LAYERS}/", f"/{group}/") for leaf in rule.leaves)
            if any(leaf in shapes for leaf in leaves):
                tensor = _tensor(rule.tensor.format(number), rule, leaves, index, shapes)
                by_layer.append((number, order, tensor))
    tensors = whole + [tensor for *_, tensor in sorted(by_layer, key=lambda each: each[:2])]
    _check_covered(tensors, shapes)
    return tensors


def _check_covered(tensors: Sequence[Tensor], shapes: Mapping[str, Shape]) -> None:
    """Check that each layer of each parameter is in one tensor."""
    covered = Counter(part.path for tensor in tensors for part in tensor.parts)
    whole = {part.path for tensor in tensors for part in tensor.parts if part.layer is None}
    needed = {path: 1 if path in whole else shape[0] for path, shape in shapes.items() if path in covered}
    if covered != needed or set(covered) != set(shapes):
        raise ValueError(f"the rules cover {sorted(covered)}, the model has {sorted(shapes)}")


def _places(stack: StackSpec) -> list[tuple[str, int]]:
    """Return the array that each layer is in, and its place there."""
    groups = structure_groups(stack).layers.items()
    where = {number: (group, index) for group, own in groups for index, number in enumerate(own)}
    return [where[number] for number in range(stack.num_layers)]


def _tensor(
    name: str, rule: Rule, leaves: tuple[str, ...], layer: int | None, shapes: Mapping[str, Shape]
) -> Tensor:
    parts = tuple(Part(leaf, layer, shapes[leaf] if layer is None else shapes[leaf][1:]) for leaf in leaves)
    return Tensor(name, parts, rule.transposed)
