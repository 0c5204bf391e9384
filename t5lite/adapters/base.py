"""What an adapter is: parameters of its own among those of a model, and what they do to it.

They are leaves of the model's tree, each beside the parameter that it adapts: stacked over layers with it,
sharded by logical axes, frozen and trained by the same patterns, counted by the same planner. A checkpoint
that has only the model's parameters lacks these, as it would lack those of another head.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.optim.trained import Trained

_INIT = 0xADA9
"""What the key of a model's own parameters is folded with for those of its adapter."""


class BaseAdapter(ABC):
    """What every adapter's configuration answers; each is a frozen dataclass."""

    @property
    def stands_apart(self) -> bool:
        """Whether checkpoints hold what is trained alone, beside a base that has the rest."""
        return True

    @property
    def merges(self) -> bool:
        """Whether parameters of the model alone can compute the same (``merged``)."""
        return True

    def check_rows(self, *, hold_several: bool) -> None:
        """Check that it can be trained on rows of one example, or of several.

        Raises:
          ConfigError: if it cannot.
        """
        del hold_several

    def narrowed(self, config: ModelConfig) -> ModelConfig:
        """Return what the model is to its inputs, which may have fewer positions than it has.

        Raises:
          ConfigError: if they have none.
        """
        return config

    def check_length(self, config: ModelConfig, length: int) -> None:
        """Check that a sequence of ``length`` tokens has a position for each.

        Raises:
          ConfigError: if it has not.
        """
        config.check_length(length)

    def bound(self, model: FunctionalModel, params: Tree, own: Tree, dropout_key: jax.Array | None) -> Any:
        """Return the module over the parameters of a model and its adapter; arguments as of ``applied``."""
        return model.bind(self.applied(model, params, own, dropout_key))

    def adapt(self, model: FunctionalModel) -> FunctionalModel:
        """Return the model with the adapter; errors as of ``shapes``."""
        return AdaptedModel.of(model, self)

    @abstractmethod
    def shapes(self, model: FunctionalModel) -> tuple[Tree, Tree]:
        """Return the adapter's parameters of a model as nested dicts: ``ShapeDtypeStruct``s, logical axes.

        Raises:
          ConfigError: if it cannot adapt this model.
        """

    @abstractmethod
    def init(self, model: FunctionalModel, key: jax.Array) -> Tree:
        """Return new parameters, with which the model computes what it does without; may be traced."""

    @abstractmethod
    def applied(self, model: FunctionalModel, params: Tree, own: Tree, dropout_key: jax.Array | None) -> Tree:
        """Return what a module is bound over.

        Args:
          model: without the adapter.
          params: of the model.
          own: of the adapter.
          dropout_key: None is deterministic.
        """

    def read_for_alone(self, model: FunctionalModel) -> tuple[str, ...]:
        """Return the paths of the base's parameters that ``alone`` needs."""
        del model
        return ()

    def alone(self, model: FunctionalModel, params: Tree, own: Tree, read: Tree) -> Tree:
        """Return what is written of the adapter by itself, for another system.

        Args:
          model: without the adapter.
          params: of the model: what was trained besides, and a ``ShapeDtypeStruct`` for what is the base's.
          own: of the adapter.
          read: of ``read_for_alone``.
        """
        del read
        return self.applied(model, params, own, None)

    @abstractmethod
    def merged(self, model: FunctionalModel, params: Tree, own: Tree) -> Tree:
        """Return the model's parameters with the adapter's worked into them; may be traced.

        Only an adapter that ``merges`` is asked.
        """

    @abstractmethod
    def trained(self, trainable: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return the patterns of what is trained: of the adapter's own, and of ``trainable`` besides."""

    @abstractmethod
    def check_trained(self, model: FunctionalModel, trained: Trained) -> None:
        """Check that what is trained of the model besides makes sense.

        Raises:
          ConfigError: if it does not.
        """

    def begun_from(self, source: "BaseAdapter", adapted: ModelConfig, model: ModelConfig) -> "BaseAdapter":
        """Return what a run trains that begins from the parameters of another run's adapter: that adapter.

        Args:
          source: the other run's.
          adapted: the model of the other run.
          model: of the run that begins, which may have another head.

        Raises:
          ConfigError: if this one is of another kind.
        """
        del adapted, model
        if not isinstance(source, type(self)):
            raise ConfigError(
                f"initialize_from names a run that holds {source}, and adapter is {self}; leave adapter out "
                "to train that one on, or begin from its base"
            )
        return source

    @abstractmethod
    def goes_on_as(self, other: "BaseAdapter") -> bool:
        """Whether a run may go on with ``other``: its parameters mean the same."""


@dataclass(frozen=True)
class AdaptedModel(FunctionalModel):
    """A model and an adapter: in all a functional model, with more parameters."""

    base: FunctionalModel
    adapter: BaseAdapter

    @classmethod
    def of(cls, base: FunctionalModel, adapter: BaseAdapter) -> "AdaptedModel":
        """Return the model with the adapter; errors as of ``BaseAdapter.shapes``."""
        abstract, axes = adapter.shapes(base)
        return cls(
            adapter.narrowed(base.config),
            base.execution,
            base.graphdef,
            united(base.logical_axes, axes),
            united(base.abstract_params, abstract),
            base.growths,
            base,
            adapter,
        )

    def init(self, key: jax.Array) -> Tree:
        """Return new parameters; those of the model are as without the adapter."""
        own = self.adapter.init(self.base, jax.random.fold_in(key, _INIT))
        return united(self.base.init(key), own)

    def bind(self, params: Tree, *, dropout_key: jax.Array | None = None) -> Any:
        """Return the module over ``params``, adapted."""
        base, own = self.apart(params)
        return self.adapter.bound(self.base, base, own, dropout_key)

    def merged(self, params: Tree) -> Tree:
        """Return parameters of ``base`` that compute the same."""
        return self.adapter.merged(self.base, *self.apart(params))

    def apart(self, params: Tree) -> tuple[Tree, Tree]:
        """Return the parameters of the model and those of the adapter."""
        return _common(params, self.base.abstract_params), _rest(params, self.base.abstract_params)


def united(tree: Tree, other: Tree) -> Tree:
    """Return a nested dict with the leaves of two that have none in common."""
    return {**tree, **{name: _united(tree.get(name), value) for name, value in other.items()}}


def _united(value: Any, other: Any) -> Any:
    if value is None:
        return other
    assert isinstance(value, Mapping), "a leaf is in both"
    return united(value, other)


def _common(tree: Tree, like: Tree) -> Tree:
    return {
        name: _common(tree[name], value) if isinstance(value, dict) else tree[name]
        for name, value in like.items()
    }


def _rest(tree: Tree, like: Tree) -> Tree:
    rest = {}
    for name, value in tree.items():
        if name not in like:
            rest[name] = value
        elif isinstance(value, dict) and (inner := _rest(value, like[name])):
            rest[name] = inner
    return rest
