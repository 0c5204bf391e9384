"""What the head of an encoder-only model predicts for held-out examples, written out and scored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import jax
import numpy as np

from t5lite.core.types import Tree
from t5lite.data.examples.protocol import AnsweredExamples
from t5lite.evaluation.scoring import scores
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.runner.heldout import Heldout
from t5lite.runner.heldout_measures import heldout_batches
from t5lite.runner.scorer import Scored, Scorer


class HeadScorer(Scorer):
    """Predicts for the examples of an evaluation and scores that by the metrics of the head.

    Args:
      model: with the head.
      heldout: the evaluation.
      examples: its.
      partitioner: where parameters lie.
    """

    def __init__(
        self, model: FunctionalModel, heldout: Heldout, examples: AnsweredExamples, partitioner: Partitioner
    ):
        self._heldout, self._examples, self._partitioner = heldout, examples, partitioner
        self.metrics = model.config.predicted_metrics
        names = [output.name for output in model.config.outputs]

        def outputs(params: Tree, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            with partitioner.activate():
                found = model.bind(params)(batch)
            return {name: found[name] for name in names}

        shardings = (
            partitioner.tree_shardings(model.logical_axes, model.abstract_params),
            partitioner.batch_sharding,
        )
        self._outputs = jax.jit(outputs, in_shardings=shardings, out_shardings=partitioner.replicated)

    def __call__(self, params: Tree, *, before_output: Callable[[], None] = lambda: None) -> Scored:
        """Return what is predicted for each example with these parameters."""
        indices = self._examples.evaluated(self._heldout.config.max_examples).tolist()
        rows = self._rows(params, before_output)
        found = zip(indices, rows, strict=False)  # which fill up a batch
        numbers, predictions = zip(*self._examples.predictions(found), strict=True)
        described = [self._examples.described(number) for number in numbers]
        references = [(each.reference, *each.other_references) for each in described]
        results = scores(self.metrics, predictions, references)
        columns = zip(numbers, described, predictions, results.of_each, strict=True)
        examples: list[dict[str, Any]] = [
            {
                "example": number,
                "input": each.inputs,
                "reference": each.reference,
                **({"other_references": each.other_references} if each.other_references else {}),
                "prediction": prediction,
                "input_cut": each.input_cut,
                "output_cut": False,
                "scores": own,
            }
            for number, each, prediction, own in columns
        ]
        return Scored(results.of_all, examples)

    def _rows(self, params: Tree, before_batch: Callable[[], None]) -> Iterator[dict[str, np.ndarray]]:
        with closing(heldout_batches(self._heldout, self._partitioner, before_batch)) as batches:
            for batch in batches:
                found = {name: np.asarray(value) for name, value in self._outputs(params, batch).items()}
                for row in range(len(next(iter(found.values())))):
                    yield {name: value[row] for name, value in found.items()}
