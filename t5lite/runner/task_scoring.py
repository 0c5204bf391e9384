"""What a model writes for the held-out pairs of an evaluation, scored by the metrics of its task."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import check_told_apart
from t5lite.data.pipeline import evaluation_indices
from t5lite.data.prompt import Prompt
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.scoring import scores as metric_scores
from t5lite.evaluation.text_generation import GenerationSizes, TextGenerator
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.run_config import RunConfig
from t5lite.tasks.opening import open_task

_NUM_SAMPLES = 50


class Scored(NamedTuple):
    """What a model wrote, and how well."""

    scores: dict[str, float]
    """The task's metrics by name, and their errors."""
    samples: tuple[dict[str, str], ...]
    """Inputs, target and prediction of the first examples."""
    num_cut: int
    """Predictions that reached the greatest length."""


class TaskScorer:
    """Writes for the held-out pairs of an evaluation and scores the text; keep it, and it compiles once.

    The model is given the stored ids of the inputs. Predictions are scored against the stored targets,
    uncut and decoded: the text as the vocabulary can spell it, normalised, with ⁇ for what it cannot. A
    score against the original text is lower where the vocabulary does not cover it.

    Args:
      model: what parameters belong to.
      vocabulary: of the model.
      config: of a run on pairs.
      name: of an evaluation with a task.
      eos_ids: what ends a text besides the vocabulary's EOS.
      partitioner: where the parameters lie; None for one device.

    Raises:
      ConfigError: if the run has no pairs, or the evaluation no task.
      DataError: if the store cannot be used.
    """

    def __init__(
        self,
        model: FunctionalModel,
        vocabulary: Vocabulary,
        config: RunConfig,
        name: str,
        *,
        eos_ids: Sequence[int] = (),
        partitioner: Partitioner | None = None,
    ) -> None:
        data, evaluation = config.evaluated_data(name), config.evaluations[name]
        if data.answer_length is None or not evaluation.task:
            raise ConfigError(
                f"data is a {type(data).__name__}, evaluations.{name}.task={evaluation.task}; task scores "
                "need pairs and a task"
            )
        pairs = PairStore.open(evaluation.store, vocabulary.fingerprint)
        self._task, self.max_decode_length = open_task(evaluation.task), data.answer_length
        if self._task.has_classes:
            check_told_apart(pairs)
        indices = evaluation_indices(pairs.num_pairs, evaluation.max_examples).tolist()
        inputs = [pairs.inputs.document(i) for i in indices]
        self._given = [Prompt(ids, ends=True, frame=data.frame_of(vocabulary)) for ids in inputs]
        self._inputs = [vocabulary.decode(ids) for ids in inputs[:_NUM_SAMPLES]]
        self._targets = [vocabulary.decode(pairs.targets.document(i)) for i in indices]
        sizes = GenerationSizes(
            encoder_length=data.inputs_length,
            max_decode_length=data.answer_length,
            batch_size=min(evaluation.batch_size, len(inputs)),
        )
        self._generate = TextGenerator(model, vocabulary, sizes, eos_ids=eos_ids, partitioner=partitioner)

    def __call__(self, params: Tree, *, before_output: Callable[[], None] = lambda: None) -> Scored:
        """Return what the model writes with these parameters; what ``before_output`` raises ends it."""
        outputs = []
        for output in self._generate(params, self._given):
            before_output()
            outputs.append(output)
        predictions = [output.text for output in outputs]
        results = metric_scores(self._task.metrics, predictions, self._targets)
        scores = {name: score.value for name, score in results.items()}
        scores |= {f"{name}_error": score.error for name, score in results.items() if score.error is not None}
        samples = tuple(
            {"inputs": inputs, "target": target, "prediction": prediction}
            for inputs, target, prediction in zip(self._inputs, self._targets, predictions, strict=False)
        )
        return Scored(scores, samples, sum(output.output_cut for output in outputs))
