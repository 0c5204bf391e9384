"""What vectors of held-out pairs find: of each anchor, its positives among those of all pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from t5lite.core.types import Tree
from t5lite.data.examples.protocol import TextPairs
from t5lite.data.pipeline import evaluation_indices
from t5lite.evaluation.metrics.retrieval import retrieval
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.runner.heldout import Heldout
from t5lite.runner.pair_vectors import PairVectors
from t5lite.runner.scorer import Scored, Scorer


class RetrievalScorer(Scorer):
    """Finds positives by anchors; an anchor of several pairs is asked once, and has several that are right.

    An anchor that is another pair's positive, too, does not find itself.

    Args:
      model: with a head that embeds.
      heldout: the evaluation.
      examples: its.
      partitioner: where parameters lie.
    """

    def __init__(
        self, model: FunctionalModel, heldout: Heldout, examples: TextPairs, partitioner: Partitioner
    ):
        self._heldout, self._examples = heldout, examples
        self._vectors = PairVectors(model, heldout, partitioner)
        self.metrics = model.config.predicted_metrics

    def __call__(self, params: Tree, *, before_output: Callable[[], None] = lambda: None) -> Scored:
        """Return what is found with these parameters."""
        indices = evaluation_indices(self._examples.num_examples, self._heldout.config.max_examples)
        vectors_NTD = self._vectors(params, before_output)
        numbers_N2 = self._examples.numbers_N2[indices]
        text_Q, first_Q, query_N = np.unique(numbers_N2[:, 0], return_index=True, return_inverse=True)
        text_C, first_C, candidate_N = np.unique(numbers_N2[:, 1], return_index=True, return_inverse=True)
        pairs = np.unique(np.stack([query_N, candidate_N], axis=1), axis=0)
        right = np.split(pairs[:, 1], np.flatnonzero(np.diff(pairs[:, 0])) + 1)
        places_Q = np.searchsorted(text_C, text_Q).clip(max=len(text_C) - 1)
        own_Q = np.where(text_C[places_Q] == text_Q, places_Q, -1)
        found = retrieval(vectors_NTD[first_Q, 0], vectors_NTD[first_C, 1], right, own_Q=own_Q)
        described = [self._examples.described(index) for index in indices.tolist()]
        examples: list[dict[str, Any]] = [
            {
                "example": int(index),
                "input": each.inputs,
                "reference": each.reference,
                "prediction": described[first_C[found.best_Q[query]]].reference,
                "input_cut": each.input_cut,
                "output_cut": False,
                "scores": {name: float(getattr(found, name)[query]) for name in self.metrics},
            }
            for index, each, query in zip(indices, described, query_N.tolist(), strict=True)
        ]
        note = f"{len(first_Q):,} anchors find their positives among {len(first_C):,}"
        return Scored(found.scores(), examples, (note,))
