"""Gradients of models that compute in bfloat16: sums over many tokens are not rounded as they are made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.types import Tree
from t5lite.models.config import Execution
from t5lite.models.functional import build
from tests.families import FAMILIES, VOCAB_SIZE

ROWS, LENGTH, WIDTH = 128, 16, 16


def gradients(family: str, compute_dtype: str) -> Tree:
    """Of a sum of what is encoded, to which all 2,048 tokens add in the same direction."""
    config = FAMILIES[family]
    model, params = (
        build(config, Execution(compute_dtype=compute_dtype)),
        build(config).init(jax.random.key(0)),
    )
    rng = np.random.default_rng(0)
    tokens_BM = rng.integers(2, VOCAB_SIZE, (ROWS, LENGTH), dtype=np.int32)
    types_BM = rng.integers(0, max(1, config.num_token_types), (ROWS, LENGTH), dtype=np.int32)
    wanted_BMD = rng.standard_normal(WIDTH) + 0.1 * rng.standard_normal((ROWS, LENGTH, WIDTH))

    def total(tables: Tree) -> jax.Array:
        encoded_BMD = model.bind({**params, **tables}).encode(tokens_BM, token_types_BM=types_BM)
        return jnp.sum(encoded_BMD.astype(jnp.float32) * wanted_BMD.astype(np.float32))

    below = ("token_types", "token_embedder", "encoder")
    return jax.jit(jax.grad(total))({name: params[name] for name in below if name in params})


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_table_that_every_token_reads_has_the_gradient_of_float32(family):
    """BERT's two token types read half of all tokens each; summed in bfloat16 they were off by a half."""
    exact, rounded = (gradients(family, dtype) for dtype in ("float32", "bfloat16"))
    paths = jax.tree_util.tree_leaves_with_path(exact)
    for (path, expected), found in zip(paths, jax.tree.leaves(rounded), strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if "/layers/" not in name:
            assert float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)) < 0.02, name
