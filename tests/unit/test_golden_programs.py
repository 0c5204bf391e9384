"""Programs of published models are those that they were; descriptions tell programs apart by what they do."""

import difflib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests import golden_programs
from tests.described_programs import described


@pytest.mark.parametrize("name", golden_programs.CASES)
def test_a_program_is_the_one_of_the_golden_file(name):
    expected, found = golden_programs.path(name).read_text(encoding="utf-8"), golden_programs.text(name)
    changes = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "golden file", "now", lineterm="", n=2
    )
    assert found == expected, (
        "\n".join(changes) + f"\nThe files are of jax {golden_programs.JAX}, this is jax {jax.__version__}. "
        "With that one, if the change is meant: python -m tests.golden_programs, and commit the files"
    )


def test_every_golden_file_is_of_a_listed_model():
    files = golden_programs.DIRECTORY.iterdir()
    assert {path.name for path in files} == {f"{name}.txt" for name in golden_programs.CASES}


def _product(x, y):
    return jnp.exp(x @ y) + 1e-6


def _of(function: Callable[..., Any], shape: tuple[int, ...] = (4, 4)) -> list[str]:
    argument = jax.ShapeDtypeStruct(shape, "float32")
    return described(jax.jit(function).lower(argument, argument))


@pytest.mark.parametrize(
    "other",
    [
        lambda x, y: jnp.exp(y @ x) + 1e-6,
        lambda x, y: jnp.exp(x @ x) + 1e-6,
        lambda x, y: jnp.exp(x.T @ y) + 1e-6,
        lambda x, y: jnp.exp(x @ y) + 1e-5,
        lambda x, y: jnp.tanh(x @ y) + 1e-6,
        lambda x, y: jnp.exp(jnp.matmul(x, y, precision="highest")) + 1e-6,
        lambda x, y: jnp.exp((x.astype("bfloat16") @ y.astype("bfloat16")).astype("float32")) + 1e-6,
        lambda x, y: jax.lax.cond(x[0, 0] > 0, _product, lambda x, y: x, x, y),
        lambda x, y: (_product(x, y), x),
    ],
)
def test_another_program_has_another_description(other):
    assert _of(other) != _of(_product)


def _layers(times: int, step: float = 1.0) -> Callable[..., Any]:
    def run(x, y):
        def layer(carry, _):
            first, second = carry
            return (second @ first, second + step), first.sum()

        return jax.lax.scan(layer, (x, y), length=times)

    return run


def test_loops_are_told_apart_by_their_number_of_times_and_what_they_do():
    assert len({tuple(_of(each)) for each in (_layers(3), _layers(4), _layers(3, 2.0))}) == 3
    assert any("3 times" in line for line in _of(_layers(3)))


def test_names_and_the_order_of_what_is_independent_are_no_difference():
    def first(x, y):
        one, other = jnp.sin(x), jnp.cos(y)
        return jax.lax.scan(lambda carry, _: ((carry[0] + one, carry[1] * other), None), (x, y), length=2)[0]

    def second(x, y):
        cosine = jax.jit(jnp.cos)(y)
        sine = jnp.sin(x)
        summed, product = "a", "b"
        start = {product: x, summed: y}

        def layer(carry, _):
            return {summed: carry[summed] * cosine, product: carry[product] + sine}, None

        end = jax.lax.scan(layer, start, length=2)[0]
        return end[product], end[summed]

    assert _of(first) == _of(second)
