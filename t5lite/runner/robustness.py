"""How much worse predictions are where inputs are written otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from t5lite.core.types import Tree
from t5lite.evaluation.metrics.bootstrap import Difference, difference
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample
from t5lite.evaluation.perturbations import PERTURBATIONS, perturbed
from t5lite.evaluation.scoring import named_metrics
from t5lite.runner.task_scoring import Scored


class Scorer(Protocol):
    """What scores predictions for the pairs of an evaluation."""

    @property
    def inputs(self) -> Sequence[str]:
        """Texts of the examples."""
        ...

    @property
    def metrics(self) -> Sequence[str]:
        """Names of those that predictions have."""
        ...

    def __call__(self, params: Tree, *, inputs: Sequence[str] | None = None) -> Scored:
        """Return what is predicted, of other inputs in place of the stored ones if given."""
        ...


@dataclass(frozen=True)
class Robustness:
    """What a change of the inputs does.

    Attributes:
      num_changed: inputs that it changes.
      changes: of each metric, the value with it less that without, on the same examples.
    """

    num_changed: int
    changes: Mapping[str, Difference]


def robustness(scorer: Scorer, params: Tree, plain: Scored) -> dict[str, Robustness]:
    """Return what each perturbation does to the metrics of the predictions; of two examples or more.

    Args:
      scorer: of the evaluation.
      params: of the model.
      plain: what it scored without.
    """
    before, found = _samples(scorer.metrics, plain), {}
    for name, change in PERTURBATIONS.items():
        inputs = perturbed(scorer.inputs, change)
        after = _samples(scorer.metrics, scorer(params, inputs=inputs))
        num_changed = sum(new != old for new, old in zip(inputs, scorer.inputs, strict=True))
        changes = {metric: difference(after[metric], before[metric]) for metric in before}
        found[name] = Robustness(num_changed, changes)
    return found


def _samples(names: Sequence[str], scored: Scored) -> dict[str, Sample]:
    predictions = [each["prediction"] for each in scored.examples]
    references = [(each["reference"], *each.get("other_references", ())) for each in scored.examples]
    metrics = named_metrics(names)
    return {
        name: metric.measured(predictions, references)[0]
        for name, metric in metrics.items()
        if isinstance(metric, CorpusMetric)
    }
