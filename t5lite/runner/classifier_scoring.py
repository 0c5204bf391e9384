"""What a classifier says of the held-out pairs of an evaluation, with the probability of every class."""

from collections.abc import Callable, Sequence

import numpy as np

from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.pipeline import evaluation_indices
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.metrics.calibration import calibration
from t5lite.evaluation.scoring import scores as metric_scores
from t5lite.evaluation.text_classification import Classifier, classification_rows
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.robustness import TextScorer
from t5lite.runner.scorer import Scored


class ClassifierScorer(TextScorer):
    """Tells the classes of an evaluation's held-out pairs; keep it, and it compiles once for each length.

    Args:
      model: an encoder-only one that classifies sequences.
      vocabulary: of the model.
      config: of a run on pairs.
      name: of an evaluation.
      classes: of the run.
      partitioner: where the parameters lie; None for one device.
      calibrated: whether to score the probabilities, too.

    Attributes:
      metrics: those of the head.
      inputs: texts of the examples, as the vocabulary spells them.

    Raises:
      DataError: if the store cannot be used, or has a class that the run has not.
    """

    def __init__(
        self,
        model: FunctionalModel,
        vocabulary: Vocabulary,
        config: RunConfig,
        name: str,
        *,
        classes: LabelClasses,
        partitioner: Partitioner | None = None,
        calibrated: bool = False,
    ) -> None:
        data, evaluation = config.evaluated_data(name), config.evaluations[name]
        pairs = PairStore.open(evaluation.store, vocabulary.fingerprint)
        self._indices = evaluation_indices(pairs.num_pairs, evaluation.max_examples)
        self._labels = classes.labels(pairs)[self._indices]
        self._ids = [pairs.inputs.document(i) for i in self._indices.tolist()]
        self.inputs = [vocabulary.decode(ids) for ids in self._ids]
        self._config, self._vocabulary, self._length = model.config, vocabulary, data.inputs_length
        self._classes, self._calibrated = classes.texts, calibrated
        self.metrics = model.config.predicted_metrics
        self._classifier = Classifier(
            model,
            num_classes=len(classes.texts),
            batch_size=min(evaluation.batch_size, len(self._ids)),
            partitioner=partitioner,
        )

    def __call__(
        self,
        params: Tree,
        *,
        inputs: Sequence[str] | None = None,
        before_output: Callable[[], None] = lambda: None,
    ) -> Scored:
        """Return what is said with these parameters, of other inputs than the stored ones if given."""
        texts = inputs or self.inputs
        given = [
            ids if text == own else self._vocabulary.encode(text)
            for ids, own, text in zip(self._ids, self.inputs, texts, strict=True)
        ]
        rows = classification_rows(self._config, self._vocabulary, given, encoder_length=self._length)
        found = []
        for probabilities_C in self._classifier(params, rows):
            before_output()
            found.append(probabilities_C)
        probabilities_NC = np.stack(found)
        predictions = [self._classes[number] for number in probabilities_NC.argmax(axis=1).tolist()]
        references = [self._classes[number] for number in self._labels.tolist()]
        results = metric_scores(self.metrics, predictions, references)
        columns = zip(
            self._indices.tolist(),
            texts,
            references,
            predictions,
            rows,
            probabilities_NC.tolist(),
            strict=True,
        )
        examples = [
            {
                "example": index,
                "input": given,
                "reference": reference,
                "prediction": prediction,
                "input_cut": row.cut,
                "output_cut": False,
                "probabilities": dict(zip(self._classes, probabilities, strict=True)),
            }
            for index, given, reference, prediction, row, probabilities in columns
        ]
        calibrations = calibration(probabilities_NC, self._labels) if self._calibrated else {}
        return Scored({**results.of_all, **calibrations}, examples)
