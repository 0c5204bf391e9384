"""The functional view of a model: everywhere else parameters are a plain nested dict of arrays."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from t5lite.core.growth import Growth
from t5lite.core.types import Tree
from t5lite.models.config import Execution, ModelConfig
from t5lite.models.layers.stack import Stack


@dataclass(frozen=True)
class FunctionalModel:
    """What is known of a model before any parameter exists, and the way from parameters to a module."""

    config: ModelConfig
    execution: Execution
    graphdef: Any
    """The module's structure without its arrays (``nnx.GraphDef``)."""
    logical_axes: Tree
    """The parameters' structure with a tuple of axis names at each leaf."""
    abstract_params: Tree
    """The parameters' structure with a ``jax.ShapeDtypeStruct`` at each leaf."""
    growths: Mapping[str, Growth]
    """Of parameters by their paths, if the model has a ``transfer``."""

    def init(self, key: jax.Array) -> Tree:
        """Return new parameters, a function of ``key`` alone; may be traced (``jit`` with out_shardings)."""
        return nnx.to_pure_dict(nnx.state(_construct(self.config, self.execution, key), nnx.Param))

    def bind(self, params: Tree, *, dropout_key: jax.Array | None = None) -> Any:
        """Return the module over ``params`` (``config.module()``); call it inside the traced function.

        Args:
          params: as of ``init``.
          dropout_key: of what is done to parameters; the module's own dropout has its key when it is called.
        """
        del dropout_key
        return nnx.merge(self.graphdef, nnx.State(params))

    def bind_for_decoding(self, params: Tree) -> Any:
        """Return the same module, prepared for a loop over positions (``Stack.take_apart``) that follows."""
        module = self.bind(params)
        for _, part in nnx.iter_modules(module):
            if isinstance(part, Stack):
                part.take_apart()
        return module

    @property
    def num_params(self) -> int:
        """Number of parameters; a tied embedding counts once."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.abstract_params))


def _construct(config: ModelConfig, execution: Execution, key: jax.Array) -> nnx.Module:
    # Parameters are laid out by the jit that calls this (partitioning), not one by one as they are made.
    with nnx.use_eager_sharding(False):
        return config.module()(config, execution, rngs=nnx.Rngs(params=key))


def build(config: ModelConfig, execution: Execution | None = None) -> FunctionalModel:
    """Return the functional model of ``config``. Abstract: no device work, whatever the size.

    Args:
      config: what the model is.
      execution: how it is computed; None for the defaults.
    """
    execution = execution or Execution()
    abstract_model = nnx.eval_shape(lambda: _construct(config, execution, jax.random.key(0)))
    graphdef, state = nnx.split(abstract_model)
    flat = nnx.to_flat_state(state)
    logical_axes: dict[str, Any] = {}
    abstract_params: dict[str, Any] = {}
    growths: dict[str, Growth] = {}
    for path, variable in flat:
        _insert(logical_axes, path, tuple(variable.get_metadata("out_sharding")))
        value = variable.get_value()
        _insert(abstract_params, path, jax.ShapeDtypeStruct(value.shape, value.dtype))
        if (growth := variable.get_metadata().get("growth")) is not None:
            growths["/".join(map(str, path))] = growth
    return FunctionalModel(config, execution, graphdef, logical_axes, abstract_params, growths)


def _insert(tree: dict[str, Any], path: tuple[Any, ...], leaf: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = leaf
