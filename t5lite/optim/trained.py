"""What a run trains, and how fast: patterns over the paths of parameters, resolved against a model.

Whatever is frozen costs an optimizer nothing: it is built for the trained part of the tree alone.
"""

import dataclasses
import difflib
import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from t5lite.core.errors import ConfigError
from t5lite.core.growth import Growth
from t5lite.core.types import LogicalAxes, Tree
from t5lite.optim.base import BaseOptimizer, Optimizer

_SEPARATOR = "/"
_EXCEPT = "!"
_NEAR = 3
"""Names that are shown for a pattern that matches none."""

Build = Callable[..., Optimizer]
"""(logical axes, factors of the learning rate, maybe those of the weight decay) -> the optimizer of the
parameters that have these."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The parameters that a run trains, by path in the tree (``decoder/layers/mlp/wo``)."""

    rate_factors: Mapping[str, float]
    """What multiplies the learning rate of each; what is not here is frozen."""
    frozen: frozenset[str]
    layer_factors: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    """What multiplies it besides, by its place in the network: one number, or one for each layer of an array
    that has several; what is not here has 1."""
    size_factors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """What multiplies it besides, but not the weight decay, because its model has grown; if any, of all."""

    def grown(self, optimizer: BaseOptimizer, growths: Mapping[str, Growth], logical_axes: Tree) -> "Trained":
        """Return the same with rates that were found on a smaller model.

        Args:
          optimizer: whose rates they are.
          growths: of parameters, by path.
          logical_axes: of the parameters.
        """
        leaves = jax.tree.leaves(logical_axes, is_leaf=lambda x: isinstance(x, tuple))
        axes = dict(zip(parameter_paths(logical_axes), leaves, strict=True))
        factors = {
            path: optimizer.rate_factor(growths.get(path, Growth()), axes[path]) for path in self.rate_factors
        }
        return dataclasses.replace(self, size_factors=factors)

    def decayed(self, decay: float, distances: Mapping[str, tuple[int, ...]]) -> "Trained":
        """Return the same with rates that fall layer by layer towards the input.

        Args:
          decay: what multiplies the learning rate for each layer that is further from the output.
          distances: how many layers from the output every parameter is, as ``layer_factors`` has it.
        """
        factors = {path: tuple(decay**each for each in distances[path]) for path in self.rate_factors}
        return dataclasses.replace(self, layer_factors=factors)

    def part(self, tree: Tree) -> Tree:
        """Return what a tree like the parameters has of those that are trained."""
        return _part(tree, "", self.rate_factors)

    def optimizer(self, build: Build, logical_axes: Tree) -> Optimizer:
        """Return the optimizer of the trained parameters, for a step that holds all of them."""
        axes = self.part(logical_axes)
        leaves, structure = jax.tree.flatten(axes, is_leaf=lambda x: isinstance(x, tuple))
        paths = parameter_paths(axes)
        factors = [self._factor(path, names) for path, names in zip(paths, leaves, strict=True)]
        decays = [1 / self.size_factors[path] for path in paths if path in self.size_factors]
        inner = build(axes, *(structure.unflatten(each) for each in (factors, decays) if each))
        if not self.frozen:
            return inner
        return Optimizer(
            init=lambda params: inner.init(self.part(params)),
            update=lambda grads, opt_state, params: inner.update(grads, opt_state, self.part(params)),
            state_axes=inner.state_axes,
            learning_rate=inner.learning_rate,
            trained=self.part,
        )

    def _factor(self, path: str, axes: LogicalAxes) -> float | np.ndarray:
        """Return what multiplies the rate of a parameter: a number, or an array that has one a layer."""
        rate = self.rate_factors[path] * self.size_factors.get(path, 1.0)
        factors = [rate * each for each in self.layer_factors.get(path, (1.0,))]
        if len({*factors}) == 1:
            return factors[0]
        return np.asarray(factors, np.float32).reshape([-1 if axis == "layers" else 1 for axis in axes])


def check_layer_decay(decay: float) -> None:
    """Check that rates can fall so from layer to layer.

    Raises:
      ConfigError: if it is no factor that leaves a rate and does not raise it.
    """
    if not 0 < decay <= 1:
        raise ConfigError(
            f"layerwise_learning_rate_decay={decay} must be above 0 and at most 1, which is one rate for all"
        )


def check_patterns(
    trainable: tuple[str, ...] | None, learning_rate_factors: tuple[tuple[str, float], ...]
) -> None:
    """Check what can be checked without a model.

    Raises:
      ConfigError: for no pattern at all, an empty one, one that is given twice, or a factor that is none.
    """
    if isinstance(trainable, str):
        raise ConfigError(f"trainable={trainable!r} must be a tuple of patterns: ({trainable!r},)")
    if not isinstance(learning_rate_factors, tuple | list) or not all(map(_is_pair, learning_rate_factors)):
        raise ConfigError(
            f"learning_rate_factors={learning_rate_factors!r} must be a tuple of pairs of a pattern and a "
            "factor: (('encoder', 0.1),)"
        )
    if trainable is not None and not trainable:
        raise ConfigError("trainable=() trains nothing; name what is trained, or None to train everything")
    for field, patterns in (
        ("trainable", trainable or ()),
        ("learning_rate_factors", [pattern for pattern, _ in learning_rate_factors]),
    ):
        for number, pattern in enumerate(patterns):
            if not pattern.removeprefix(_EXCEPT):
                raise ConfigError(f"{field}: {pattern!r} is no pattern; give one such as 'decoder/*'")
            if pattern in patterns[:number]:
                raise ConfigError(f"{field} has {pattern!r} twice; leave one out")
    for pattern, factor in learning_rate_factors:
        if not 0 < factor < math.inf:
            raise ConfigError(
                f"learning_rate_factors: {factor} of {pattern!r} must be a finite number above 0; to freeze "
                f"what it matches, give trainable '{_EXCEPT}{pattern}'"
            )


def resolve_trained(
    trainable: tuple[str, ...] | None,
    learning_rate_factors: tuple[tuple[str, float], ...],
    params: Tree,
) -> Trained:
    """Return what patterns mean for a model.

    A pattern (``fnmatch``; ``*`` also matches ``/``) is of the whole path of a parameter, or of what it
    begins with: ``decoder`` is all of the decoder. What one of ``trainable`` matches is trained, unless one
    that begins with ``!`` matches it too; where all begin so, everything else is. The first of
    ``learning_rate_factors`` that matches a parameter counts.

    Args:
      trainable: patterns; None trains everything.
      learning_rate_factors: patterns with what multiplies the learning rate.
      params: the parameters, or a tree like them.

    Raises:
      ConfigError: for a pattern that matches nothing, with near names, or if nothing is trained.
    """
    paths = parameter_paths(params)
    trained = matched_paths("trainable", trainable or (), paths)
    if not trained:
        raise ConfigError(
            f"trainable={' '.join(trainable or ())} leaves nothing to train of {len(paths)} arrays; take a "
            f"pattern that begins with {_EXCEPT!r} out"
        )
    factors = dict.fromkeys(trained, 1.0)
    unset = dict.fromkeys(trained)
    for pattern, factor in learning_rate_factors:
        of_pattern = [path for path in unset if _matches(pattern, path)]
        if not of_pattern:
            raise ConfigError(
                f"learning_rate_factors: {pattern!r} matches nothing that is trained and that no earlier "
                f"pattern matches{_near(pattern, unset)}"
            )
        for path in of_pattern:
            factors[path] = factor
            del unset[path]
    return Trained(rate_factors=factors, frozen=frozenset(paths) - factors.keys())


def matched_paths(
    field: str, patterns: Iterable[str], paths: list[str], *, kind: str = "arrays"
) -> list[str]:
    """Return those of ``paths`` that patterns match, as ``resolve_trained`` says; of no pattern, all.

    Args:
      field: that has the patterns, for messages.
      patterns: of paths, or of what they begin with.
      paths: of parameters.
      kind: what these are.

    Raises:
      ConfigError: for a pattern that matches nothing, with near names.
    """
    patterns = [*patterns]
    chosen = [pattern for pattern in patterns if not pattern.startswith(_EXCEPT)]
    left_out = [pattern for pattern in patterns if pattern.startswith(_EXCEPT)]
    matched = _matched(field, chosen, paths, kind)
    excluded = _matched(field, left_out, paths, kind)
    return [path for path in paths if (path in matched or not chosen) and path not in excluded]


def parameter_paths(tree: Tree) -> list[str]:
    """Return the path of every leaf of a tree like the parameters, in its order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: isinstance(x, tuple))
    return [jax.tree_util.keystr(path, simple=True, separator=_SEPARATOR) for path, _ in leaves]


def merged(tree: Tree, part: Tree) -> Tree:
    """Return a nested dict with the leaves of ``part`` in place of its own."""
    return {
        name: value
        if name not in part
        else (merged(value, part[name]) if isinstance(value, dict) else part[name])
        for name, value in tree.items()
    }


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and [isinstance(each, str) for each in value] == [True, False]


def _matched(field: str, patterns: Iterable[str], paths: list[str], kind: str) -> set[str]:
    found = set()
    for pattern in patterns:
        of_pattern = {path for path in paths if _matches(pattern.removeprefix(_EXCEPT), path)}
        if not of_pattern:
            raise ConfigError(
                f"{field}: {pattern!r} matches none of the {len(paths)} {kind}{_near(pattern, paths)}"
            )
        found |= of_pattern
    return found


def _matches(pattern: str, path: str) -> bool:
    """Whether a pattern is of a path, or of a group that it is in."""
    names = path.split(_SEPARATOR)
    groups = (_SEPARATOR.join(names[:length]) for length in range(1, len(names) + 1))
    return any(fnmatch.fnmatchcase(group, pattern) for group in groups)


def _near(pattern: str, paths: Iterable[str]) -> str:
    """Return what to say of names that a pattern may have meant: groups and arrays."""
    groups = {
        _SEPARATOR.join(path.split(_SEPARATOR)[:length])
        for path in paths
        for length in range(1, path.count(_SEPARATOR) + 2)
    }
    name = pattern.removeprefix(_EXCEPT).rstrip("/*").replace(".", _SEPARATOR)
    close = difflib.get_close_matches(name, sorted(groups), n=_NEAR)
    hint = f"; near: {', '.join(close)}" if close else ""
    top = sorted({path.split(_SEPARATOR)[0] for path in paths})
    return f"{hint}; groups: {', '.join(top)}"


def _part(tree: Tree, prefix: str, paths: Mapping[str, float]) -> Tree:
    part = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if not isinstance(value, dict):
            if path in paths:
                part[name] = value
        elif inner := _part(value, f"{path}{_SEPARATOR}", paths):
            part[name] = inner
    return part
