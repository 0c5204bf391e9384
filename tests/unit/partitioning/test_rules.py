"""From logical axes to partition specs, and what is refused before any device is touched."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import PartitionSpec as P

from t5lite.core.errors import ConfigError
from t5lite.core.logical_axes import ACTIVATION_AXES, PARAMETER_AXES
from t5lite.partitioning import (
    PartitioningConfig,
    abstract_partitioner,
    constrain,
    make_partitioner,
)
from t5lite.partitioning.rules import (
    STYLES,
    active_partitioner,
    entry_axes,
)

MIXED = {"replica": 2, "fsdp": 2, "tensor": 2}


def partitioner(style, extra_rules=(), **sizes):
    sizes = sizes or ({"fsdp": 8} if style in ("fsdp", "data_parallel") else MIXED)
    return abstract_partitioner(PartitioningConfig(**sizes, style=style, extra_rules=extra_rules), 8)


@pytest.mark.parametrize(
    ("style", "axes", "spec"),
    [
        ("data_parallel", ("layers", "embed", "mlp"), P(None, None, None)),
        ("fsdp", ("layers", "embed", "mlp"), P(None, "fsdp", None)),
        ("fsdp", ("layers", "heads", "kv", "embed"), P(None, None, None, "fsdp")),
        ("tensor_parallel", ("layers", "embed", "heads", "kv"), P(None, "fsdp", "tensor", None)),
        ("tensor_parallel", ("layers", "mlp", "embed"), P(None, "tensor", "fsdp")),
        ("tensor_parallel", ("vocab", "embed"), P("tensor", "fsdp")),
        ("tensor_parallel", ("relpos_buckets", "heads"), P(None, "tensor")),
        ("tensor_parallel", ("layers", "embed"), P(None, None)),
        ("tensor_parallel", (), P()),
        ("sequence_parallel", ("embed", "mlp"), P(("fsdp", "sequence"), "tensor")),
    ],
)
def test_parameter_specs(style, axes, spec):
    assert partitioner(style).spec(axes) == spec


@pytest.mark.parametrize(
    ("style", "axes", "spec"),
    [
        ("fsdp", ("batch", "length", "embed"), P(("replica", "fsdp"), None, None)),
        ("tensor_parallel", ("batch", "length", "embed"), P(("replica", "fsdp"), None, None)),
        ("tensor_parallel", ("batch", "length", "mlp"), P(("replica", "fsdp"), None, "tensor")),
        (
            "sequence_parallel",
            ("batch", "length", "embed"),
            P(("replica", "fsdp"), ("sequence", "tensor"), None),
        ),
        # The tensor-parallel dimension comes first in the table: length keeps what is left.
        (
            "sequence_parallel",
            ("batch", "length", "heads", "kv"),
            P(("replica", "fsdp"), "sequence", "tensor", None),
        ),
        ("sequence_parallel", ("batch", "length", "vocab"), P(("replica", "fsdp"), "sequence", "tensor")),
    ],
)
def test_activation_specs(style, axes, spec):
    assert partitioner(style).activation_spec(axes) == spec


@pytest.mark.parametrize("style", sorted(STYLES))
def test_no_mesh_axis_is_used_twice(style):
    rules = partitioner(style)
    for spec in (rules.spec(PARAMETER_AXES), rules.activation_spec(ACTIVATION_AXES)):
        used = [axis for entry in spec if entry for axis in ((entry,) if isinstance(entry, str) else entry)]
        assert len(used) == len(set(used))


def test_extra_rules_replace_a_rule_of_one_table_or_both():
    one = partitioner("tensor_parallel", (("parameters.vocab", None), ("activations.embed", "tensor")))
    assert one.spec(("vocab", "embed")) == P(None, "fsdp")
    assert one.activation_spec(("batch", "length", "vocab")) == P(("replica", "fsdp"), None, "tensor")
    assert one.activation_spec(("batch", "length", "embed")) == P(("replica", "fsdp"), None, "tensor")
    both = partitioner("tensor_parallel", (("vocab", "fsdp+tensor"), ("embed", None)), fsdp=4, tensor=2)
    assert both.spec(("vocab", "embed")) == P(("fsdp", "tensor"), None)
    length = partitioner("fsdp", (("length", "sequence"),), fsdp=4, sequence=2)
    assert length.activation_spec(("batch", "length", "embed")) == P(("replica", "fsdp"), "sequence", None)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (("embd", "fsdp"), "unknown parameter axis 'embd'; did you mean 'embed'"),
        (("parameters.batch", "fsdp"), "unknown parameter axis 'batch'"),
        (("embed", "tenser"), "unknown mesh axis 'tenser'; did you mean 'tensor'"),
        (("params.embed", "fsdp"), "'params.embed' must be an axis name, alone or after"),
    ],
)
def test_wrong_extra_rules(rule, message):
    with pytest.raises(ConfigError, match=message):
        partitioner("fsdp", (rule,))


def test_idle_mesh_axis_is_refused():
    with pytest.raises(
        ConfigError, match=r"no rule of this style uses mesh axis 'tensor'=4, so 3 of 4 devices"
    ):
        partitioner("fsdp", fsdp=2, tensor=4)


def test_unknown_names_have_a_suggestion():
    rules = partitioner("fsdp")
    with pytest.raises(ConfigError, match="unknown parameter axis 'head'; did you mean 'heads'"):
        rules.spec(("embed", "head", "kv"))
    with pytest.raises(ConfigError, match="unknown activation axis 'layers'"):
        rules.activation_spec(("layers", "batch"))


@pytest.mark.parametrize(
    ("style", "batch_size", "message"),
    [
        ("fsdp", 250, r"^batch_size=250 .* mesh axis 'fsdp'=8; use 248 or 256, or change .*fsdp$"),
        ("tensor_parallel", 3, r"^batch_size=3 .* mesh axes 'replica'\*'fsdp'=4; use 4, or change"),
    ],
)  # fmt: skip
def test_check_names_what_does_not_divide(style, batch_size, message):
    with pytest.raises(ConfigError, match=message):
        partitioner(style).check(batch_size, head_counts={})


def test_a_mesh_axis_divides_heads_and_not_their_columns_alone():
    assert partitioner("tensor_parallel").stored_spec(("embed", "heads"), (8, 3 * 4)) == P("fsdp", "tensor")
    message = r"^num_heads=3 is not divisible by mesh axis 'tensor'=2; use 2 or 4, or change .*tensor$"
    with pytest.raises(ConfigError, match=message):
        partitioner("tensor_parallel").check(4, head_counts={"heads": (3,)})
    whole = (("activations.batch", "replica+fsdp+tensor"), ("parameters.heads", None))
    given_to_the_batch = partitioner("tensor_parallel", extra_rules=whole)
    given_to_the_batch.check(8, head_counts={"heads": (3,)})


@pytest.mark.parametrize(
    ("axes", "shape", "sizes", "spec"),
    [
        # Rows that do not divide: their mesh axis takes columns.
        (("vocab", "embed"), (50_257, 768), {"fsdp": 2, "tensor": 4}, P(None, ("fsdp", "tensor"))),
        (("embed", "vocab"), (768, 30_522), {"fsdp": 2, "tensor": 4}, P(("fsdp", "tensor"), None)),
        (("vocab", "embed"), (30_522, 768), {"fsdp": 4, "tensor": 2}, P("tensor", "fsdp")),
        # The other way round, and of several mesh axes those that divide stay.
        (("layers", "embed", "mlp"), (8, 30, 8), {"fsdp": 4, "tensor": 2}, P(None, None, ("tensor", "fsdp"))),
        (
            ("layers", "embed", "mlp"),
            (2, 6, 64),
            {"fsdp": 2, "sequence": 2, "tensor": 2},
            P(None, "fsdp", ("tensor", "sequence")),
        ),
        # Dimensions that no rule names take over too; layers never do, nor does what divides nothing.
        (("positions", "embed"), (512, 30), {"fsdp": 4, "tensor": 2}, P("fsdp", None)),
        (("layers", "embed", "mlp"), (8, 30, 63), {"fsdp": 4, "tensor": 2}, P(None, "tensor", None)),
        (("embed", "labels"), (30, 3), {"fsdp": 4, "tensor": 2}, P(None, None)),
        (("vocab",), (50_257,), {"fsdp": 2, "tensor": 4}, P(None)),
    ],
)  # fmt: skip
def test_a_dimension_that_does_not_divide_is_kept_whole_and_another_one_split(axes, shape, sizes, spec):
    style = "sequence_parallel" if "sequence" in sizes else "tensor_parallel"
    assert partitioner(style, **sizes).stored_spec(axes, shape) == spec


@given(
    style=st.sampled_from(sorted(STYLES)),
    axes=st.lists(st.sampled_from(PARAMETER_AXES), max_size=3, unique=True).map(tuple),
    shape=st.lists(st.integers(1, 24), min_size=3, max_size=3),
    sizes=st.sampled_from([MIXED, {"fsdp": 4, "tensor": 2}, {"fsdp": 2, "sequence": 2, "tensor": 2}]),
)
def test_every_shard_of_an_array_that_is_kept_has_the_same_size(style, axes, shape, sizes):
    """Whatever the sizes; and what divides is kept as the rules ask."""
    if STYLES[style].parameters == () or style == "fsdp":
        sizes = {"fsdp": 8}
    elif style == "tensor_parallel":
        sizes = MIXED
    rules, shape = partitioner(style, **sizes), shape[: len(axes)]
    asked, kept = rules.spec(axes), rules.stored_spec(axes, shape)
    ways = [rules.num_shards(entry) for entry in kept]
    assert all(size % number == 0 for size, number in zip(shape, ways, strict=True))
    used = [axis for entry in kept for axis in entry_axes(entry)]
    assert len(used) == len(set(used))
    assert set(used) <= {axis for entry in asked for axis in entry_axes(entry)}
    if all(size % rules.num_shards(entry) == 0 for size, entry in zip(shape, asked, strict=True)):
        assert kept == asked


def test_axes_of_another_rank_are_a_fault():
    with pytest.raises(ValueError, match=r"of shape \(8, 8\) cannot have the logical axes"):
        partitioner("fsdp").stored_spec(("layers", "embed", "mlp"), (8, 8))


def test_constrain_is_a_no_op_without_a_partitioner():
    x = jnp.ones((2, 3))
    assert active_partitioner() is None
    assert constrain(x, ("batch", "anything")) is x
    with pytest.raises(ValueError, match="cannot have the logical axes"):
        constrain(x, ("batch",))


def test_active_partitioner_is_part_of_the_trace_key():
    rules = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    seen = []

    @jax.jit
    def double(x_BL):
        seen.append(active_partitioner())
        return constrain(2 * x_BL, ("batch", "length"))

    x_BL = jnp.ones((2, 3))
    double(x_BL)
    with rules.activate():
        double(x_BL)
        double(x_BL)
        text = double.lower(x_BL).as_text()
    double(x_BL)
    assert seen == [None, rules]
    assert "sharding_constraint" in text or "Sharding" in text
