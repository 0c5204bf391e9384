"""Which scorer predicts for the examples of an evaluation."""

from collections.abc import Sequence

from t5lite.data.vocabulary import Vocabulary
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.classifier_scoring import ClassifierScorer
from t5lite.runner.head_scoring import HeadScorer
from t5lite.runner.heldout import Heldout
from t5lite.runner.retrieval_scoring import RetrievalScorer
from t5lite.runner.scorer import Scorer
from t5lite.runner.similarity_scoring import SimilarityScorer
from t5lite.runner.task_scoring import TaskScorer


def scorer_of(
    heldout: Heldout,
    model: FunctionalModel,
    vocabulary: Vocabulary,
    config: RunConfig,
    *,
    eos_ids: Sequence[int],
    partitioner: Partitioner,
    in_training: bool = False,
) -> Scorer | None:
    """Return what scores predictions for the examples of an evaluation; None where nothing is predicted.

    Args:
      heldout: the evaluation.
      model: that predicts.
      vocabulary: of the model.
      config: of the run.
      eos_ids: what ends a text besides the vocabulary's EOS.
      partitioner: where parameters lie.
      in_training: whether text is generated only if the evaluation says so, and no probabilities are scored.
    """
    classes, calibrated = heldout.pipeline.classes, not in_training
    if (examples := heldout.pipeline.answered) is not None:
        return HeadScorer(model, heldout, examples, partitioner)
    if (pairs := heldout.pipeline.text_pairs) is not None:
        scorer = RetrievalScorer if pairs.similarities_N is None else SimilarityScorer
        return scorer(model, heldout, pairs, partitioner)
    if classes is not None:
        return ClassifierScorer(
            *(model, vocabulary, config, heldout.name),
            classes=classes,
            partitioner=partitioner,
            calibrated=calibrated,
        )
    evaluation = heldout.config
    if not evaluation.task or (in_training and not evaluation.task_in_training):
        return None
    return TaskScorer(
        *(model, vocabulary, config, heldout.name),
        eos_ids=eos_ids,
        partitioner=partitioner,
        calibrated=calibrated,
    )
