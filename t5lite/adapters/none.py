"""No adapter: the model's own parameters are trained, all of them or a part."""

from dataclasses import dataclass

import jax

from t5lite.adapters.base import BaseAdapter
from t5lite.core.types import Tree
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.optim.trained import Trained


@dataclass(frozen=True, kw_only=True)
class NoAdapter(BaseAdapter):
    """Adds nothing to a model."""

    @property
    def stands_apart(self) -> bool:
        """False: a checkpoint holds the whole model."""
        return False

    def adapt(self, model: FunctionalModel) -> FunctionalModel:
        """Return the model."""
        return model

    def shapes(self, model: FunctionalModel) -> tuple[Tree, Tree]:
        """Return nothing."""
        del model
        return {}, {}

    def init(self, model: FunctionalModel, key: jax.Array) -> Tree:
        """Return nothing."""
        del model, key
        return {}

    def applied(self, model: FunctionalModel, params: Tree, own: Tree, dropout_key: jax.Array | None) -> Tree:
        """Return the parameters."""
        del model, own, dropout_key
        return params

    def merged(self, model: FunctionalModel, params: Tree, own: Tree) -> Tree:
        """Return the parameters."""
        del model, own
        return params

    def trained(self, trainable: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return ``trainable``."""
        return trainable

    def check_trained(self, model: FunctionalModel, trained: Trained) -> None:
        """Check nothing: anything may be trained."""
        del model, trained

    def begun_from(self, source: BaseAdapter, adapted: ModelConfig, model: ModelConfig) -> BaseAdapter:
        """Return the other run's."""
        del adapted, model
        return source

    def goes_on_as(self, other: BaseAdapter) -> bool:
        """Whether there is none either."""
        return isinstance(other, NoAdapter)
