"""The vectors of the held-out pairs of a model that embeds."""

from collections.abc import Callable, Mapping
from contextlib import closing

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.runner.heldout import Heldout
from t5lite.runner.heldout_measures import heldout_batches


class PairVectors:
    """Embeds the pairs of an evaluation; keep it, and it compiles once.

    Args:
      model: with a head that embeds.
      heldout: the evaluation.
      partitioner: where parameters lie.
    """

    def __init__(self, model: FunctionalModel, heldout: Heldout, partitioner: Partitioner):
        self._heldout, self._partitioner = heldout, partitioner

        def vectors(params: Tree, batch: Mapping[str, jax.Array]) -> jax.Array:
            with partitioner.activate():
                return model.bind(params)(batch)["texts"]

        shardings = (
            partitioner.tree_shardings(model.logical_axes, model.abstract_params),
            partitioner.batch_sharding,
        )
        self._vectors = jax.jit(vectors, in_shardings=shardings, out_shardings=partitioner.replicated)

    def __call__(self, params: Tree, before_output: Callable[[], None]) -> np.ndarray:
        """Return float32 [N, T, D]: the T texts of each pair, normalised; arguments as of ``Scorer``."""
        with closing(heldout_batches(self._heldout, self._partitioner, before_output)) as batches:
            vectors_NTD = np.concatenate([np.asarray(self._vectors(params, batch)) for batch in batches])
        return vectors_NTD[: self._heldout.num_examples]  # those behind fill up a batch
