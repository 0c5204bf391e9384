"""How far from the output every parameter of a model is, in layers: what layer-wise rates go by."""

import jax

from t5lite.core.types import Tree
from t5lite.models.config import StackSpec
from t5lite.models.functional import FunctionalModel
from t5lite.models.layers.groups import structure_groups


def layers_to_output(model: FunctionalModel) -> dict[str, tuple[int, ...]]:
    """Return how many layers down from the head each parameter is, by its path.

    The head, whatever comes after a stack's last layer, is 0, that layer 1, and what makes the input of a
    stack one more than its first layer. Each stack counts from its own end: every layer of a decoder, the
    last one too, reads the encoder's output. Of a table that two stacks read the longer way counts, and one
    that is also the kernel of the logits (tied) is an input.

    Returns:
      One number for each layer whose parameters are in the array, in their order; otherwise one.
    """
    distances: dict[str, tuple[int, ...]] = dict.fromkeys(_paths(model.abstract_params), (0,))
    for stack in model.config.stacks:
        below = (stack.num_layers + 1,)
        for path in model.config.input_parameters(stack.side):
            distances[path] = max(distances[path], below)
        groups = {
            f"{stack.side}/{group}/": tuple(stack.num_layers - layer for layer in layers)
            for group, layers in structure_groups(stack).layers.items()
        }
        for path in _inside(stack, distances):
            distances[path] = next((each for group, each in groups.items() if path.startswith(group)), below)
    return distances


def _inside(stack: StackSpec, paths: dict[str, tuple[int, ...]]) -> list[str]:
    """Return the paths of a stack's parameters but for the norm after its last layer."""
    after = f"{stack.side}/final_norm/"
    return [path for path in paths if path.startswith(f"{stack.side}/") and not path.startswith(after)]


def _paths(params: Tree) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
