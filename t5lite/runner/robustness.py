"""How much worse predictions are where inputs are written otherwise."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

from t5lite.core.types import Tree
from t5lite.evaluation.metrics.bootstrap import difference
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric, Sample
from t5lite.evaluation.perturbations import PERTURBATIONS, perturbed
from t5lite.evaluation.scoring import named_metrics
from t5lite.runner.scorer import Robustness, Scored, Scorer


class TextScorer(Scorer):
    """A scorer whose inputs are texts, which may be written otherwise."""

    inputs: Sequence[str]
    """Texts of the examples, as the vocabulary spells them."""

    @abstractmethod
    def __call__(
        self,
        params: Tree,
        *,
        inputs: Sequence[str] | None = None,
        before_output: Callable[[], None] = lambda: None,
    ) -> Scored:
        """Return what is predicted, of other inputs in place of the stored ones if given."""

    def robustness(self, params: Tree, plain: Scored) -> Mapping[str, Robustness]:
        """Return what each perturbation does to the metrics of the predictions."""
        before, found = _samples(self.metrics, plain), {}
        for name, change in PERTURBATIONS.items():
            inputs = perturbed(self.inputs, change)
            after = _samples(self.metrics, self(params, inputs=inputs))
            num_changed = sum(new != old for new, old in zip(inputs, self.inputs, strict=True))
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
