"""The FLOPs of a step are those of the products that its program has, whatever is frozen."""

import dataclasses
import math

import jax
import pytest
from jax.interpreters import partial_eval

from t5lite.models.config import EncoderDecoderConfig, EncoderOnlyConfig, SinusoidalPositions
from t5lite.models.flops import train_step_flops
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.optim.trained import resolve_trained
from t5lite.training.config import StepConfig
from t5lite.training.state import abstract_state
from t5lite.training.step import make_train_step
from t5lite.training.step_flops import step_flops
from tests.families import FAMILIES, make_batch

ROWS = 8
BASE = FAMILIES["t5-1.1"]
BERT = FAMILIES["bert"]
assert isinstance(BASE, EncoderDecoderConfig)
assert isinstance(BERT, EncoderOnlyConfig)
MERGED = FAMILIES["t5gemma2"]
T5 = dataclasses.replace(BASE, positions=SinusoidalPositions())
"""Without the relative bias, whose products are left out of the count."""
MODELS = {
    **{name: FAMILIES[name] for name in ("bert", "bert-masked-lm", "gpt2", "opt-350m")},
    "t5": T5,
    "tied": dataclasses.replace(T5, tie_embeddings=True),
    "tables": dataclasses.replace(T5, separate_tables=True),
    "tied-tables": dataclasses.replace(T5, separate_tables=True, tie_embeddings=True),
    # Windows are counted by what a query sees, and a program computes more.
    "merged": dataclasses.replace(
        MERGED, attention=dataclasses.replace(MERGED.attention, windows=(None,)), num_encoder_layers=1
    ),
    "bert-tags": dataclasses.replace(BERT, head="token_classification"),
}
EQUAL, SHORT, LONG = (12, 9), (8, 64), (64, 8)
CASES = [
    ("t5", None, EQUAL),
    ("t5", ("decoder", "logits"), EQUAL),
    ("t5", ("decoder", "logits"), LONG),
    ("t5", ("encoder",), EQUAL),
    ("t5", ("*/cross_attention",), SHORT),
    ("t5", ("*/cross_attention",), LONG),
    ("tied", ("!token_embedder",), EQUAL),
    ("bert-masked-lm", ("masked_lm",), EQUAL),
    ("gpt2", ("*/mlp",), EQUAL),
    # A head alone, or what lies between it and the last layer.
    ("t5", ("logits",), SHORT),
    ("t5", ("logits",), LONG),
    ("t5", ("decoder/final_norm",), SHORT),
    ("t5", ("encoder/final_norm",), LONG),
    ("bert-masked-lm", ("masked_lm/norm",), EQUAL),
    ("bert-masked-lm", ("masked_lm/bias",), EQUAL),
    ("bert", ("next_sentence",), EQUAL),
    ("bert", ("pooler",), EQUAL),
    ("bert-tags", ("classifier",), EQUAL),
    ("opt-350m", ("token_embedder/projection_in",), EQUAL),
    ("opt-350m", ("token_embedder/projection_out",), EQUAL),
    ("opt-350m", ("decoder",), EQUAL),
    # A table a side.
    ("tables", None, LONG),
    ("tables", ("!encoder", "!token_embedder"), LONG),
    ("tables", ("!encoder", "!encoder_embedder"), LONG),
    ("tables", ("!encoder", "!encoder_embedder"), SHORT),
    ("tables", ("encoder_embedder",), LONG),
    ("tables", ("token_embedder",), SHORT),
    ("tables", ("token_embedder", "*/cross_attention/key"), LONG),
    ("tied-tables", ("token_embedder",), LONG),
    # One kernel on both sides' tokens, one softmax over both sides' keys.
    ("merged", None, LONG),
    ("merged", ("decoder",), LONG),
    ("merged", ("decoder/*/self_attention/value",), LONG),
    ("merged", ("decoder/*/mlp",), SHORT),
    ("merged", ("encoder",), SHORT),
    ("tied-tables", ("encoder_embedder",), SHORT),
]


def product_flops(jaxpr) -> int:
    """Of a program and of the programs in it, of one branch where there are several.

    A sum by a product (a norm's, that of a bias's gradient) has an operand without an axis of its own: it is
    none.
    """
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), (together, _) = eqn.params["dimension_numbers"]
            summed = math.prod(eqn.invars[0].aval.shape[dim] for dim in contracted)
            if all(each.aval.ndim > len(contracted) + len(together) for each in eqn.invars):
                total += 2 * summed * math.prod(eqn.outvars[0].aval.shape)
        runs = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        branches = eqn.params.get("branches", ())[:1]
        inner = [each for each in (*eqn.params.values(), *branches) if hasattr(each, "eqns")]
        total += runs * sum(product_flops(getattr(each, "jaxpr", each)) for each in inner)
    return total


def needed_flops(function, *args) -> int:
    """Of the products in a function's program whose results it uses."""
    traced = jax.make_jaxpr(function)(*args).jaxpr
    return product_flops(partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))[0])


@pytest.mark.parametrize(("name", "trainable", "lengths"), CASES)
def test_equals_the_products_of_the_program(name, trainable, lengths):
    config = MODELS[name]
    side_lengths = dict(zip(("encoder", "decoder"), lengths, strict=True))
    batch = {
        field: jax.ShapeDtypeStruct(
            (ROWS, side_lengths.get(field.partition("_")[0], 0))[: array.ndim], array.dtype
        )
        for field, array in make_batch(config, rows=ROWS).items()
    }
    model = build(config)
    optimizer = resolve_trained(trainable, (), model.abstract_params).optimizer(
        lambda axes, factors: AdamWConfig().build(Constant().build(1), axes, factors), model.logical_axes
    )
    step = make_train_step(model, optimizer, StepConfig(vocab_chunks=1), seed=0)
    shape = {"batch_size": ROWS} | {
        f"{side}_length": side_lengths[side] * (side in config.sides) for side in side_lengths
    }
    flops = step_flops(model, optimizer, **shape)
    assert flops == needed_flops(step, abstract_state(model, optimizer), batch)
    whole = train_step_flops(config, **shape)
    assert (flops == whole) if trainable is None else (flops < whole)
