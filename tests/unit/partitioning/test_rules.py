"""From logical axes to partition specs, and what is refused before any device is touched."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from t5lite.core.errors import ConfigError
from t5lite.partitioning import (
    PartitioningConfig,
    abstract_partitioner,
    constrain,
    fitting_partitioner,
    make_partitioner,
    rules,
)
from t5lite.partitioning.rules import ACTIVATION_AXES, PARAMETER_AXES, STYLES, active_partitioner

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


AXES = {"encoder": {"wi": ("layers", "embed", "mlp"), "norm": ("embed",)}, "embedding": ("vocab", "embed")}


def shapes(embed=8, mlp=16, vocab=32):
    sizes = {"layers": 2, "embed": embed, "mlp": mlp, "vocab": vocab}
    return jax.tree.map(
        lambda axes: jax.ShapeDtypeStruct(tuple(sizes[a] for a in axes), jnp.float32),
        AXES,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def test_check_accepts_what_divides():
    partitioner("tensor_parallel").check(shapes(), AXES, batch_size=4, head_counts={})
    partitioner("data_parallel").check(shapes(embed=7, mlp=5, vocab=3), AXES, batch_size=8, head_counts={})


@pytest.mark.parametrize(
    ("style", "sizes", "batch_size", "message"),
    [
        ("fsdp", {}, 250, r"^batch_size=250 .* mesh axis 'fsdp'=8; use 248 or 256, or change .*fsdp$"),
        ("tensor_parallel", {}, 3, r"^batch_size=3 .* mesh axes 'replica'\*'fsdp'=4; use 4, or change"),
        ("tensor_parallel", {"mlp": 15}, 4, r"^encoder/wi: axis 'mlp'=15 .* 'tensor'=2; use 14 or 16, or"),
        ("tensor_parallel", {"vocab": 33}, 4, r"^embedding: axis 'vocab'=33 "),
        ("fsdp", {"embed": 12}, 8, r"axis 'embed'=12 .* use 8 or 16.* \(1 other dimensions fail too\)"),
    ],
)  # fmt: skip
def test_check_names_what_does_not_divide(style, sizes, batch_size, message):
    with pytest.raises(ConfigError, match=message):
        partitioner(style).check(shapes(**sizes), AXES, batch_size=batch_size, head_counts={})


def test_a_mesh_axis_divides_heads_and_not_their_columns_alone():
    twelve = {"q": jax.ShapeDtypeStruct((8, 3 * 4), jnp.float32)}, {"q": ("embed", "heads")}
    partitioner("tensor_parallel").check(*twelve, batch_size=4, head_counts={})
    message = r"^num_heads=3 is not divisible by mesh axis 'tensor'=2; use 2 or 4, or change .*tensor$"
    with pytest.raises(ConfigError, match=message):
        partitioner("tensor_parallel").check(*twelve, batch_size=4, head_counts={"heads": 3})
    whole = (("activations.batch", "replica+fsdp+tensor"), ("parameters.heads", None))
    given_to_the_batch = partitioner("tensor_parallel", extra_rules=whole)
    given_to_the_batch.check(*twelve, batch_size=8, head_counts={"heads": 3})


def test_check_of_a_wrong_rank_is_a_fault():
    with pytest.raises(ValueError, match="wi has shape"):
        partitioner("fsdp").check(
            {"wi": jnp.zeros((8, 8))}, {"wi": ("layers", "embed", "mlp")}, batch_size=8, head_counts={}
        )


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


@pytest.mark.parametrize(("embed", "spec"), [(16, P("fsdp", None)), (12, P(None, None))])
def test_what_does_not_divide_is_copied(monkeypatch, embed, spec):
    monkeypatch.setattr(rules, "make_partitioner", lambda config: abstract_partitioner(config, 8))
    axes = {"kernel": ("embed", "mlp")}
    abstract = {"kernel": jax.ShapeDtypeStruct((embed, 4), jnp.float32)}
    fitting = fitting_partitioner(abstract, axes)
    assert fitting.spec(axes["kernel"]) == spec
    fitting.check(abstract, axes, 8, {})
