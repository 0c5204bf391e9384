"""Logical axes to mesh axes: one table for parameters and one for activations per style.

Parameters and activations share axis names but not their placement: the ``embed`` of a parameter may
be sharded (FSDP) while the ``embed`` of an activation stays whole because its batch is sharded over
the same devices. Hence two tables.

A table is an ordered tuple of ``(logical axis, mesh axes)``. A mesh axis can shard only one dimension
of an array; where two dimensions ask for the same one, the *earlier rule of the table* gets it (not
the earlier dimension) and the later rule keeps whatever mesh axes are left. Known names that no rule
mentions (``layers``, ``relpos_buckets``, ``kv``) are replicated, and so is every parameter that is a
vector apart from its ``layers`` axis: sharding norm scales saves nothing and costs a gather each.

The table says how things are computed, whatever their sizes: XLA pads a dimension that does not divide.
A parameter is kept (and saved, counted, exported) with its real size: ``Partitioner.stored_spec``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.logical_axes import ACTIVATION_AXES, PARAMETER_AXES
from t5lite.core.registry import lookup
from t5lite.core.types import LogicalAxes, Tree
from t5lite.partitioning.compiler_options import Options, chosen_options
from t5lite.partitioning.mesh import AXES, PartitioningConfig, make_mesh, mesh_shape

Rule = tuple[str, tuple[str, ...]]

BATCH_AXES = ("replica", "fsdp")
RESIDUAL_AXES: LogicalAxes = ("batch", "length", "embed")
"""Axes of the residual stream, which every branch of a layer reads and adds to."""


@dataclass(frozen=True)
class Rules:
    """The two ordered tables of one style."""

    parameters: tuple[Rule, ...]
    activations: tuple[Rule, ...]


_BATCH: tuple[Rule, ...] = (("batch", BATCH_AXES),)
_FSDP: tuple[Rule, ...] = (("embed", ("fsdp",)),)
_TENSOR: tuple[Rule, ...] = (
    ("heads", ("tensor",)),
    ("kv_heads", ("tensor",)),
    ("mlp", ("tensor",)),
    ("vocab", ("tensor",)),
)

STYLES: dict[str, Rules] = {
    "data_parallel": Rules(parameters=(), activations=_BATCH),
    "fsdp": Rules(parameters=_FSDP, activations=_BATCH),
    "tensor_parallel": Rules(parameters=_TENSOR + _FSDP, activations=_BATCH + _TENSOR),
    # Megatron's sequence parallelism: between the tensor-parallel regions (which come first in the
    # table) the residual stream is sharded along its length over the same devices. The devices that share
    # the length of an example (context parallelism) also share the parameters.
    "sequence_parallel": Rules(
        parameters=(*_TENSOR, ("embed", ("fsdp", "sequence"))),
        activations=(*_BATCH, *_TENSOR, ("length", ("sequence", "tensor"))),
    ),
}


@dataclass(frozen=True)
class Partitioner:
    """A mesh and the rules that place arrays on it. Hashable, so a jit cache can tell two apart.

    ``mesh`` may be an ``AbstractMesh``: everything but ``activate`` then works without devices.
    """

    mesh: Mesh | AbstractMesh
    rules: Rules
    compiler_options: Options = ()
    """Of programs for the mesh's devices."""

    def __post_init__(self) -> None:
        used = {
            axis for table in (self.rules.parameters, self.rules.activations) for _, m in table for axis in m
        }
        for axis in sorted(used - set(self.mesh.axis_names)):
            raise ConfigError(
                f"a rule uses the unknown mesh axis {axis!r}{suggestion(axis, self.mesh.axis_names)}"
            )
        for axis, size in self.mesh.shape.items():
            if size > 1 and axis not in used:
                raise ConfigError(
                    f"no rule of this style uses mesh axis {axis!r}={size}, so {size - 1} of {size} devices "
                    f"would repeat work; set partitioning.{axis}=1, or change style or extra_rules"
                )

    def spec(self, axes: LogicalAxes) -> PartitionSpec:
        """Return the partition spec that the rules ask for a parameter, whatever its shape."""
        _require_known(axes, PARAMETER_AXES, kind="parameter")
        if sum(axis not in (None, "layers") for axis in axes) < 2:
            return PartitionSpec(*(None for _ in axes))
        return _resolve(axes, self.rules.parameters)

    def stored_spec(self, axes: LogicalAxes, shape: Sequence[int]) -> PartitionSpec:
        """Return the partition spec in which a parameter (or optimizer state) of this shape is kept.

        A mesh axis that does not divide what is left of its dimension goes to the first other one that it
        does divide: of a table of 50,257 rows the ``tensor`` axis takes columns. Never to ``layers``, which
        are scanned: every device would gather them all.

        Raises:
          ValueError: if ``axes`` does not name every dimension (a fault of the model, not the user).
        """
        asked = self.spec(axes)
        if len(axes) != len(shape):
            raise ValueError(f"a parameter of shape {tuple(shape)} cannot have the logical axes {axes}")
        left, kept = list(shape), [[] for _ in axes]

        def takes(number: int, axis: str) -> bool:
            part, rest = divmod(left[number], self.mesh.shape[axis])
            if rest == 0:
                left[number] = part
                kept[number].append(axis)
            return rest == 0

        wanted = [(number, axis) for number, entry in enumerate(asked) for axis in entry_axes(entry)]
        freed = [axis for number, axis in wanted if not takes(number, axis)]
        if not freed:
            return asked
        others = [number for number, axis in enumerate(axes) if axis not in (None, "layers")]
        for axis in freed:
            any(takes(number, axis) for number in others)
        return _partition_spec(kept)

    def activation_spec(self, axes: LogicalAxes) -> PartitionSpec:
        """Return the partition spec of an activation with these logical axes."""
        _require_known(axes, ACTIVATION_AXES, kind="activation")
        return _resolve(axes, self.rules.activations)

    def sharding(self, axes: LogicalAxes, shape: Sequence[int]) -> NamedSharding:
        """Return the sharding in which a parameter (or optimizer state) of this shape is kept."""
        return NamedSharding(self.mesh, self.stored_spec(axes, shape))

    def tree_shardings(self, axes_tree: Tree, abstract_tree: Tree) -> Tree:
        """Return the same tree with a ``NamedSharding`` for every array.

        Args:
          axes_tree: a tuple of logical axes for every array.
          abstract_tree: the arrays, or their shapes as ``ShapeDtypeStruct``s.
        """
        return jax.tree.map(
            lambda axes, leaf: self.sharding(axes, leaf.shape),
            axes_tree,
            abstract_tree,
            is_leaf=is_logical_axes,
        )

    @property
    def batch_sharding(self) -> NamedSharding:
        """The sharding of every field of a batch: rows over the data axes, lengths whole."""
        return NamedSharding(self.mesh, self.activation_spec(("batch",)))

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of scalars (step, metrics): one copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def check(self, batch_size: int, head_counts: Mapping[str, Sequence[int]]) -> None:
        """Check that the mesh divides the batch and the heads, without touching a device.

        Args:
          batch_size: rows of the global batch.
          head_counts: numbers of heads by logical axis; a kernel has heads x kv columns.

        Raises:
          ConfigError: naming the nearest sizes that work.
        """
        self._check_divides("batch_size", batch_size, self.batch_sharding.spec[0])
        for axis, counts in head_counts.items():
            own = self.activation_spec(("batch", "length", axis, "kv"))[2]
            for count in counts:
                self._check_divides(f"num_{axis}", count, own)

    def num_shards(self, entry: str | tuple[str, ...] | None) -> int:
        """Return into how many parts an entry of a partition spec splits a dimension."""
        return math.prod(self.mesh.shape[axis] for axis in entry_axes(entry))

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Make ``constrain`` use this partitioner while functions are traced inside the block.

        The active partitioner is part of the key of JAX's tracing caches, so a jitted function that is
        called under two partitioners, or with and without one, is traced for each.
        """
        with _active(self):
            yield

    def _check_divides(self, what: str, size: int, entry: str | tuple[str, ...] | None) -> None:
        names = tuple(name for name in entry_axes(entry) if self.mesh.shape[name] > 1)
        ways = self.num_shards(names)
        if size % ways == 0:
            return
        axes = f"mesh axis {names[0]!r}" if len(names) == 1 else "mesh axes " + "*".join(map(repr, names))
        below, above = size // ways * ways, (size // ways + 1) * ways
        nearest = f"{below} or {above}" if below else f"{above}"
        remedy = " or ".join(f"partitioning.{name}" for name in names)
        raise ConfigError(
            f"{what}={size} is not divisible by {axes}={ways}; use {nearest}, or change {remedy}"
        )


# A JAX user context rather than a ContextVar: its value enters the jit cache key.
_active = jax.make_user_context(None)


def active_partitioner() -> Partitioner | None:
    """Return the partitioner whose ``activate`` block we are in, or None."""
    return _active.value


def activated(partitioner: Partitioner | None) -> AbstractContextManager[None]:
    """Return the ``activate`` block of a partitioner; without one, a block that does nothing."""
    return nullcontext() if partitioner is None else partitioner.activate()


def even_rows(num_rows: int, partitioner: Partitioner | None) -> int:
    """Return the least number of rows, no fewer, of which every device that shares a batch has as many."""
    ways = 1 if partitioner is None else partitioner.num_shards(partitioner.batch_sharding.spec[0])
    return -(-num_rows // ways) * ways


def on_one_device() -> bool:
    """Return whether what is traced will run on one device: no partitioner, or one of a single device."""
    partitioner = active_partitioner()
    return partitioner is None or partitioner.mesh.size == 1


def target_platform() -> str:
    """Return the platform of the devices that what is traced will run on, such as ``tpu``.

    The active partitioner's, which may be one that a program is only compiled for; without one, or on a mesh
    without devices, JAX's default.
    """
    partitioner = active_partitioner()
    if partitioner is None or not isinstance(partitioner.mesh, Mesh):
        return jax.default_backend()
    return partitioner.mesh.devices.flat[0].platform


def constrain(x: jax.Array, axes: LogicalAxes) -> jax.Array:
    """Return activation ``x`` constrained to the sharding that the active partitioner gives ``axes``.

    A no-op when no partitioner is active, so that modules run as they are on one device. Mesh axes that
    are wider than the dimension (the length 1 of a decoding step) are left out; a dimension that merely
    does not divide is padded by XLA.

    Raises:
      ConfigError: for an unknown axis name (only when a partitioner is active).
      ValueError: if ``axes`` does not name every dimension of ``x``.
    """
    if len(axes) != x.ndim:
        raise ValueError(f"an activation of shape {x.shape} cannot have the logical axes {axes}")
    partitioner = active_partitioner()
    if partitioner is None:
        return x
    return place(x, partitioner.activation_spec(axes), partitioner)


def place(x: jax.Array, spec: PartitionSpec, partitioner: Partitioner) -> jax.Array:
    """Return ``x`` constrained to ``spec``, without the mesh axes that are wider than its dimension."""
    fitting = (
        m if partitioner.num_shards(m) <= size else None for m, size in zip(spec, x.shape, strict=True)
    )
    return jax.lax.with_sharding_constraint(x, NamedSharding(partitioner.mesh, PartitionSpec(*fitting)))


def make_partitioner(config: PartitioningConfig, devices: Sequence[Any] | None = None) -> Partitioner:
    """Return the partitioner of ``config`` over ``devices`` (default: all devices of all hosts).

    Raises:
      ConfigError: for sizes that do not fit the devices, an axis no rule uses, a wrong extra rule, or a
        compiler option that the compiler does not know.
    """
    mesh, rules = make_mesh(config, devices), resolve_rules(config)
    here = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    options = chosen_options((here or mesh.devices.flat)[0], config.compiler_options)
    return Partitioner(mesh, rules, options)


def abstract_partitioner(config: PartitioningConfig, num_devices: int) -> Partitioner:
    """Return a partitioner over ``num_devices`` that need not exist: for checks and for planning."""
    shape = mesh_shape(config, num_devices)
    mesh = AbstractMesh(tuple(shape.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES))
    return Partitioner(mesh, resolve_rules(config))


def resolve_rules(config: PartitioningConfig) -> Rules:
    """Return the tables of ``config.style`` with ``config.extra_rules`` in front.

    An extra rule replaces the style's rule for the same logical axis.

    Raises:
      ConfigError: for an unknown style, logical axis or mesh axis.
    """
    base = lookup(STYLES, config.style, kind="partitioning style")
    extra = config.extra_rules
    return Rules(
        parameters=_with_extra("parameters", base.parameters, extra, PARAMETER_AXES),
        activations=_with_extra("activations", base.activations, extra, ACTIVATION_AXES),
    )


def entry_axes(entry: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the mesh axes of one entry of a partition spec."""
    return (entry,) if isinstance(entry, str) else tuple(entry or ())


def is_logical_axes(node: Any) -> bool:
    """Whether a tree node is a tuple of axis names: a leaf, unlike the NamedTuples of optimizer state."""
    return type(node) is tuple and all(axis is None or isinstance(axis, str) for axis in node)


def _with_extra(
    table: str, base: tuple[Rule, ...], extra: tuple[tuple[str, str | None], ...], known: tuple[str, ...]
) -> tuple[Rule, ...]:
    first = []
    for written, mesh_axes in extra:
        scope, _, name = written.rpartition(".")
        if scope not in ("", "parameters", "activations"):
            raise ConfigError(
                f"partitioning.extra_rules: {written!r} must be an axis name, alone or after "
                "'parameters.' or 'activations.'"
            )
        if scope not in ("", table):
            continue
        if not scope and name in PARAMETER_AXES + ACTIVATION_AXES and name not in known:
            continue  # an axis that only the other table has
        _require_known((name,), known, kind=table.removesuffix("s"))
        axes = tuple(mesh_axes.split("+")) if mesh_axes else ()
        for axis in axes:
            if axis not in AXES:
                raise ConfigError(
                    f"partitioning.extra_rules: {written!r} has the unknown mesh axis {axis!r}"
                    f"{suggestion(axis, AXES)}"
                )
        first.append((name, axes))
    replaced = {name for name, _ in first}
    return tuple(first) + tuple(rule for rule in base if rule[0] not in replaced)


def _require_known(axes: LogicalAxes, known: tuple[str, ...], *, kind: str) -> None:
    for axis in axes:
        if axis is not None and axis not in known:
            raise ConfigError(f"unknown {kind} axis {axis!r}{suggestion(axis, known)}")


def _resolve(axes: LogicalAxes, table: tuple[Rule, ...]) -> PartitionSpec:
    """Give mesh axes to dimensions in the order of the table; a mesh axis is given once."""
    assigned: list[tuple[str, ...]] = [() for _ in axes]
    used: set[str] = set()
    for name, mesh_axes in table:
        if name in axes:
            free = tuple(axis for axis in mesh_axes if axis not in used)
            assigned[axes.index(name)] = free
            used.update(free)
    return _partition_spec(assigned)


def _partition_spec(assigned: Sequence[Sequence[str]]) -> PartitionSpec:
    return PartitionSpec(*(m[0] if len(m) == 1 else tuple(m) or None for m in assigned))
