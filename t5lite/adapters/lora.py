"""Low-rank adaptation of kernels (LoRA, Hu et al. 2021)."""

import contextlib
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from t5lite.adapters.base import BaseAdapter
from t5lite.core.errors import ConfigError
from t5lite.core.types import LogicalAxes, Tree
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.layers.low_rank import LowRankKernel
from t5lite.optim.trained import Trained, matched_paths, parameter_paths
from t5lite.optim.trained import merged as with_leaves
from t5lite.partitioning.rules import is_logical_axes

_SUFFIX = "_lora"
_OWN = f"*{_SUFFIX}"
_TABLE_AXES = {"vocab", "positions", "relpos_buckets", "token_types"}
"""Axes of tables, whose rows are looked up, and of what makes logits: neither is a kernel of a layer."""


class _Kernel(NamedTuple):
    """A kernel that can be adapted."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    axes: LogicalAxes


@dataclass(frozen=True, kw_only=True)
class LoRA(BaseAdapter):
    """A kernel W that stays as it is has ``W + alpha / rank A B`` in its place; A and B are trained.

    A ``[inputs, rank]`` begins as Kaiming uniform with a gain of 1/sqrt(3), U(-1/sqrt(inputs),
    1/sqrt(inputs)), as in Microsoft's and Hugging Face's; B ``[rank, outputs]`` as zeros, so that a training
    begins with the model as it is.
    """

    rank: int = 8
    alpha: float = 16.0
    """What the update is multiplied by, over ``rank``."""
    rank_stabilized: bool = False
    """Divide by the root of the rank instead (rsLoRA, Kalajdzievski 2023)."""
    dropout: float = 0.0
    """Of what A reads, while training: one mask for all positions of a row, as everywhere."""
    targets: tuple[str, ...] = ("*attention/query", "*attention/value")
    """Patterns of the kernels, as of ``trainable``: ``decoder`` is all that can be adapted of the decoder."""

    def __post_init__(self) -> None:
        if isinstance(self.targets, str):
            raise ConfigError(
                f"adapter.targets={self.targets!r} must be a tuple of patterns: ({self.targets!r},)"
            )
        if not self.targets:
            raise ConfigError("adapter.targets=() adapts nothing; name kernels, such as '*attention/query'")
        if self.rank < 1:
            raise ConfigError(f"adapter.rank={self.rank} must be 1 or more")
        if not 0 < self.alpha < math.inf:
            raise ConfigError(f"adapter.alpha={self.alpha} must be a finite number above 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"adapter.dropout={self.dropout} must be at least 0 and below 1")

    @property
    def scale(self) -> float:
        """What A B is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    def shapes(self, model: FunctionalModel) -> tuple[Tree, Tree]:
        """Return A and B of every kernel, in float32 whatever the model's parameters are."""
        abstract: dict[str, Any] = {}
        axes: dict[str, Any] = {}
        for kernel in self.kernels(model):
            *layers, inputs, outputs = kernel.shape
            if self.rank > min(inputs, outputs):
                raise ConfigError(
                    f"adapter.rank={self.rank} is more than {'/'.join(kernel.path)} has of {inputs} inputs "
                    f"and {outputs} outputs, so that its update would be of full rank; use "
                    f"{min(inputs, outputs)} or fewer, leave it out by adapter.targets "
                    f"'!{'/'.join(kernel.path)}', or train it whole by trainable"
                )
            *layer_axes, inputs_axis, outputs_axis = kernel.axes
            sizes = {"a": (inputs, self.rank), "b": (self.rank, outputs)}
            names = {"a": (inputs_axis, "rank"), "b": ("rank", outputs_axis)}
            _insert(
                abstract,
                kernel.path,
                {name: jax.ShapeDtypeStruct((*layers, *size), jnp.float32) for name, size in sizes.items()},
            )
            _insert(axes, kernel.path, {name: (*layer_axes, *own) for name, own in names.items()})
        return abstract, axes

    def kernels(self, model: FunctionalModel) -> list[_Kernel]:
        """Return those that are adapted.

        Raises:
          ConfigError: for a pattern that matches none that can be.
        """
        every = {"/".join(kernel.path): kernel for kernel in _adaptable(model)}
        paths = matched_paths("adapter.targets", self.targets, [*every], kind="kernels that can be adapted")
        if not paths:
            raise ConfigError(
                f"adapter.targets={' '.join(self.targets)} leaves nothing to adapt of {len(every)} kernels; "
                "take a pattern that begins with '!' out"
            )
        return [every[path] for path in paths]

    def init(self, model: FunctionalModel, key: jax.Array) -> Tree:
        """Return A at random and B of zeros; those of a kernel depend on its path, not on other targets."""
        own: dict[str, Any] = {}
        for kernel in self.kernels(model):
            *layers, inputs, outputs = kernel.shape
            of_kernel = jax.random.fold_in(key, zlib.crc32("/".join(kernel.path).encode()))
            bound = 1 / math.sqrt(inputs)
            a_IR = jax.random.uniform(
                of_kernel, (*layers, inputs, self.rank), jnp.float32, minval=-bound, maxval=bound
            )
            b_RO = jnp.zeros((*layers, self.rank, outputs), jnp.float32)
            _insert(own, kernel.path, {"a": a_IR, "b": b_RO})
        return own

    def own_params(self, factors: Mapping[str, tuple[Any, Any]]) -> Tree:
        """Return the adapter's parameters: A and B by the path of their kernel."""
        own: dict[str, Any] = {}
        for path, (a_IR, b_RO) in factors.items():
            _insert(own, tuple(path.split("/")), {"a": a_IR, "b": b_RO})
        return own

    def applied(self, model: FunctionalModel, params: Tree, own: Tree, dropout_key: jax.Array | None) -> Tree:
        """Return the parameters with a ``LowRankKernel`` in the place of every kernel that is adapted."""

        def adapted(kernel: _Kernel, kernel_IO: Any, factors: Tree) -> LowRankKernel:
            keys = None
            if dropout_key is not None and self.dropout > 0:
                of_kernel = jax.random.fold_in(dropout_key, zlib.crc32("/".join(kernel.path).encode()))
                keys = jax.random.key_data(jax.random.split(of_kernel, kernel.shape[:-2]))
            return LowRankKernel(
                kernel_IO, factors["a"], factors["b"], keys, scale=self.scale, dropout_rate=self.dropout
            )

        return self._replaced(model, params, own, adapted)

    def merged(self, model: FunctionalModel, params: Tree, own: Tree) -> Tree:
        """Return the parameters with the updates added, each in its own dtype, summed in float32."""

        def added(_: _Kernel, kernel_IO: jax.Array, factors: Tree) -> jax.Array:
            update_IO = jnp.matmul(factors["a"], factors["b"], precision=jax.lax.Precision.HIGHEST)
            return (kernel_IO.astype(jnp.float32) + self.scale * update_IO).astype(kernel_IO.dtype)

        return self._replaced(model, params, own, added)

    def trained(self, trainable: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the patterns of A and B, and those of ``trainable``."""
        return (_OWN, *(trainable or ()))

    def check_trained(self, model: FunctionalModel, trained: Trained) -> None:
        """Check that no kernel is both trained and adapted, and that no A or B is left out."""
        left = [path for path in trained.frozen if path.rpartition("/")[0].endswith(_SUFFIX)]
        if left:
            raise ConfigError(
                f"trainable leaves {min(left)} of the adapter out; say which kernels are adapted by "
                "adapter.targets"
            )
        both = [
            path for kernel in self.kernels(model) if (path := "/".join(kernel.path)) in trained.rate_factors
        ]
        if both:
            without = " ".join(f"'!{path}'" for path in both)
            raise ConfigError(
                f"{', '.join(both)}: trained whole by trainable and adapted by adapter.targets; take it out "
                f"of one of them: by {without} in adapter.targets, say"
            )

    def begun_from(self, source: BaseAdapter, adapted: ModelConfig, model: ModelConfig) -> BaseAdapter:
        """Return the other run's with this dropout, which adapts nothing of a new head: it has no W yet.

        Patterns stay where they mean just what is left of the adapter; else its kernels are named.

        Raises:
          ConfigError: if the other adapter is of another kind, or nothing is left of it.
        """
        begun = super().begun_from(source, adapted, model)
        assert isinstance(begun, LoRA)
        begun = replace(begun, dropout=self.dropout)
        if adapted.head_choice == model.head_choice:
            return begun
        held, functional = {kernel.path for kernel in begun.kernels(build(adapted))}, build(model)
        kept = [kernel for kernel in _adaptable(functional) if kernel.path in held]
        if not kept:
            raise ConfigError(
                f"initialize_from names a run whose adapter adapts {_listed(held)} alone, which belong to "
                "another head than this run's; begin from its base"
            )
        with contextlib.suppress(ConfigError):  # a pattern may be of the other head alone
            if begun.kernels(functional) == kept:
                return begun
        return replace(begun, targets=tuple("/".join(kernel.path) for kernel in kept))

    def goes_on_as(self, other: BaseAdapter) -> bool:
        """Whether all but the dropout is the same."""
        return isinstance(other, LoRA) and replace(other, dropout=self.dropout) == self

    def _replaced(self, model: FunctionalModel, params: Tree, own: Tree, replacement: Any) -> Tree:
        """Return the parameters with another leaf in the place of every kernel that is adapted."""
        replaced: dict[str, Any] = {}
        for kernel in self.kernels(model):
            *parents, name = kernel.path
            inner, factors = params, own
            for parent in parents:
                inner, factors = inner[parent], factors[parent]
            _insert(
                replaced,
                kernel.path,
                replacement(kernel, inner[name], factors[f"{name}{_SUFFIX}"]),
                suffix="",
            )
        return with_leaves(params, replaced)


def _adaptable(model: FunctionalModel) -> Iterator[_Kernel]:
    """Yield the kernels that activations are multiplied with, but for those that make logits."""
    paths = parameter_paths(model.logical_axes)
    all_axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    for path, axes, leaf in zip(paths, all_axes, jax.tree.leaves(model.abstract_params), strict=True):
        if len([axis for axis in axes if axis != "layers"]) == 2 and not _TABLE_AXES & {*axes}:
            yield _Kernel(tuple(path.split("/")), leaf.shape, axes)


def _listed(paths: Iterable[tuple[str, ...]]) -> str:
    return ", ".join(sorted("/".join(path) for path in paths))


def _insert(tree: dict[str, Any], path: tuple[str, ...], value: Any, suffix: str = _SUFFIX) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[f"{path[-1]}{suffix}"] = value
