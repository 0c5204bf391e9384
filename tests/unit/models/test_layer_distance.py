"""How far parameters are from the output, in every family."""

import dataclasses

import jax
import pytest

from t5lite.models.functional import build
from t5lite.models.layer_distance import layers_to_output
from t5lite.optim.trained import parameter_paths
from t5lite.partitioning.rules import is_logical_axes
from tests.families import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_has_a_distance_and_every_layer_its_own(family):
    config = FAMILIES[family]
    model = build(config)
    distances = layers_to_output(model)
    assert list(distances) == parameter_paths(model.abstract_params)
    axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    leaves = jax.tree.leaves(model.abstract_params)
    of_layers = {stack.side: set[int]() for stack in config.stacks}
    for (path, found), names, leaf in zip(distances.items(), axes, leaves, strict=True):
        assert len(found) == (leaf.shape[names.index("layers")] if "layers" in names else 1), path
        if "layers" in names:
            of_layers[path.split("/")[0]] |= {*found}
    tables = [path for path in distances if "embedder/embedding" in path]
    for stack in config.stacks:
        assert of_layers[stack.side] == {*range(1, stack.num_layers + 1)}
        assert max(distances[table] for table in tables) > (stack.num_layers,)
        assert all(
            distances[path] == (0,) for path in distances if path.startswith(f"{stack.side}/final_norm")
        )
    heads = ("logits", "pooler", "masked_lm", "next_sentence", "classifier")
    assert all(distances[path] == (0,) for path in distances if path.startswith(heads))


def test_of_berts_twelve_layers_as_published():
    """ELECTRA's and BEiT's order: embeddings, layers from the first to the last, the head."""
    config = dataclasses.replace(FAMILIES["bert"], num_layers=12)
    distances = layers_to_output(build(config))
    assert distances["encoder/layers/mlp/wo"] == (*range(12, 0, -1),)
    inputs = ("token_embedder", "token_types", "encoder/positions", "encoder/embedding_norm")
    assert {distances[path] for path in distances if path.startswith(inputs)} == {(13,)}
