"""How well the cosines of held-out pairs go with how alike people found them, as STS is measured."""

from collections.abc import Callable
from typing import Any

import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.types import Tree
from t5lite.data.examples.protocol import TextPairs
from t5lite.data.pipeline import evaluation_indices
from t5lite.evaluation.config import OF_SCORED_PAIRS
from t5lite.evaluation.scoring import scores
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.runner.heldout import Heldout
from t5lite.runner.pair_vectors import PairVectors
from t5lite.runner.scorer import Scored, Scorer

_LEAST_PAIRS = 3
"""Two pairs are always correlated wholly."""


class SimilarityScorer(Scorer):
    """Correlates cosines with scores, 0 where one side is constant; which scale scores have does not matter.

    Args:
      model: with a head that embeds.
      heldout: the evaluation.
      examples: its, with ``similarities_N``.
      partitioner: where parameters lie.

    Raises:
      DataError: if there are too few pairs.
    """

    metrics = OF_SCORED_PAIRS

    def __init__(
        self, model: FunctionalModel, heldout: Heldout, examples: TextPairs, partitioner: Partitioner
    ):
        self._indices = evaluation_indices(examples.num_examples, heldout.config.max_examples)
        if len(self._indices) < _LEAST_PAIRS:
            raise DataError(
                f"{len(self._indices)} scored pairs of {heldout.config.store} are measured, and a "
                f"correlation of fewer than {_LEAST_PAIRS} says nothing; give more, or raise max_examples"
            )
        self._examples, self._vectors = examples, PairVectors(model, heldout, partitioner)

    def __call__(self, params: Tree, *, before_output: Callable[[], None] = lambda: None) -> Scored:
        """Return the correlations with these parameters; a prediction is a cosine."""
        vectors_N2D = self._vectors(params, before_output).astype(np.float64)
        cosines_N = (vectors_N2D[:, 0] * vectors_N2D[:, 1]).sum(axis=1)
        assert self._examples.similarities_N is not None
        wanted_N = self._examples.similarities_N[self._indices]
        cosines, wanted = ([repr(float(value)) for value in side_N] for side_N in (cosines_N, wanted_N))
        found = scores(self.metrics, cosines, wanted)
        examples: list[dict[str, Any]] = []
        for index, cosine, score in zip(self._indices.tolist(), cosines, wanted, strict=True):
            each = self._examples.described(index)
            examples.append(
                {
                    "example": index,
                    "input": f"{each.inputs}\n{each.reference}",
                    "reference": score,
                    "prediction": cosine,
                    "input_cut": each.input_cut,
                    "output_cut": False,
                    "scores": {},
                }
            )
        sides = (("scores", wanted_N), ("cosines", cosines_N))
        notes = [
            f"all {name} are {side_N[0]:g}, so that there is no correlation, and 0 stands for it"
            for name, side_N in sides
            if (side_N == side_N[0]).all()
        ]
        if unknown := int(np.isnan(cosines_N).sum()):
            notes.append(f"{unknown:,} cosines are not finite and count as -1, as if nothing were alike")
        return Scored(found.of_all, examples, (f"{len(cosines):,} scored pairs", *notes))
