"""The FLOPs of a step are those of the products that its program has, whatever is frozen."""

import math

import jax
import pytest
from jax.interpreters import partial_eval

from t5lite.models.flops import train_step_flops
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.optim.trained import resolve_trained
from t5lite.training.state import abstract_state
from t5lite.training.step import StepConfig, make_train_step
from t5lite.training.step_flops import step_flops
from tests.families import FAMILIES, make_batch

CASES = [
    ("t5-1.1", None),
    ("t5-1.1", ("decoder", "logits")),
    ("t5-1.1", ("encoder",)),
    ("t5-1.1", ("*/cross_attention",)),
    ("t5-1.0", ("!token_embedder",)),
    ("bert-masked-lm", ("masked_lm",)),
    ("gpt2", ("*/mlp",)),
]


def product_flops(jaxpr) -> int:
    """Of a program and of the programs in it, of one branch where there are several."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            summed = math.prod(eqn.invars[0].aval.shape[dim] for dim in contracted)
            total += 2 * summed * math.prod(eqn.outvars[0].aval.shape)
        runs = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        branches = eqn.params.get("branches", ())[:1]
        inner = [each for each in (*eqn.params.values(), *branches) if hasattr(each, "eqns")]
        total += runs * sum(product_flops(getattr(each, "jaxpr", each)) for each in inner)
    return total


@pytest.mark.parametrize(("family", "trainable"), CASES)
def test_equals_the_products_of_the_program(family, trainable):
    """Norms and sums by products are left out of the count, and are a few parts in a hundred here."""
    config = FAMILIES[family]
    model, batch = build(config), make_batch(config)
    optimizer = resolve_trained(trainable, (), model.abstract_params).optimizer(
        lambda axes, factors: AdamWConfig().build(Constant().build(1), axes, factors), model.logical_axes
    )
    step = make_train_step(model, optimizer, StepConfig(vocab_chunks=1), seed=0)
    traced = jax.make_jaxpr(step)(abstract_state(model, optimizer), batch).jaxpr
    needed, _ = partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))
    shape = {
        "batch_size": 8,
        "encoder_length": 12 * (config.architecture != "decoder_only"),
        "decoder_length": 9 * (config.architecture != "encoder_only"),
    }
    flops = step_flops(model, optimizer, **shape)
    assert flops == pytest.approx(product_flops(needed), rel=0.03)
    whole = train_step_flops(config, **shape)
    assert (flops == whole) if trainable is None else (flops < whole)
