"""What a model writes for the held-out pairs of an evaluation, scored by the metrics of its task."""

import json
from collections.abc import Callable, Sequence

import numpy as np

from t5lite.core.errors import ConfigError, DataError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import check_told_apart
from t5lite.data.pipeline import evaluation_indices
from t5lite.data.prompt import Prompt
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.metrics.calibration import calibration
from t5lite.evaluation.scoring import check_take_several
from t5lite.evaluation.scoring import scores as metric_scores
from t5lite.evaluation.text_generation import GenerationSizes, TextGenerator
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.run_config import RunConfig
from t5lite.runner.label_probabilities import LabelProbabilities, calibrated_labels
from t5lite.runner.robustness import TextScorer
from t5lite.runner.scorer import Scored
from t5lite.tasks.decoding import task_decoding
from t5lite.tasks.opening import open_task


class TaskScorer(TextScorer):
    """Writes for the held-out pairs of an evaluation and scores the text; keep it, and it compiles once.

    The model is given the stored ids of the inputs. Predictions are scored against the stored targets,
    uncut and decoded: the text as the vocabulary can spell it, normalised, with ⁇ for what it cannot. A
    score against the original text is lower where the vocabulary does not cover it. Of several answers that
    are right, the one that a prediction fits best counts.

    Args:
      model: what parameters belong to.
      vocabulary: of the model.
      config: of a run on pairs.
      name: of an evaluation with a task.
      eos_ids: what ends a text besides the vocabulary's EOS.
      partitioner: where the parameters lie; None for one device.
      calibrated: whether to score a task's labels, too, if they are few, when stored inputs are answered.

    Attributes:
      metrics: names of those that answers have.
      inputs: texts of the examples, as the vocabulary spells them.

    Raises:
      ConfigError: if the run has no pairs, or the evaluation no task, or the model cannot write by its
        decoding.
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
        calibrated: bool = False,
    ) -> None:
        data, evaluation = config.evaluated_data(name), config.evaluations[name]
        if data.answer_length is None or not evaluation.task:
            raise ConfigError(
                f"data is a {type(data).__name__}, evaluations.{name}.task={evaluation.task}; task scores "
                "need pairs and a task"
            )
        pairs = PairStore.open(evaluation.store, vocabulary.fingerprint)
        others = pairs.other_targets()
        self._task, self._max_decode_length = open_task(evaluation.task), data.answer_length
        if self._task.has_classes:
            check_told_apart(pairs)
        self._indices = indices = evaluation_indices(pairs.num_pairs, evaluation.max_examples).tolist()
        inputs = [pairs.inputs.document(i) for i in indices]
        self._given = [Prompt(ids, ends=True, frame=data.frame_of(vocabulary)) for ids in inputs]
        self.inputs, self.metrics = [vocabulary.decode(ids) for ids in inputs], self._task.metrics
        frame = data.frame_of(vocabulary)
        self._prompt = lambda text: Prompt(vocabulary.encode(text), ends=True, frame=frame)
        self._targets = [spelt(vocabulary, pairs.targets.document(i), others.get(i, ())) for i in indices]
        if any(len(target) > 1 for target in self._targets):
            check_take_several(self._task.metrics, store=evaluation.store)
        sizes = GenerationSizes(
            encoder_length=data.inputs_length,
            max_decode_length=data.answer_length,
            batch_size=min(evaluation.batch_size, len(inputs)),
        )
        self._generate = TextGenerator(
            *(model, vocabulary, sizes),
            eos_ids=eos_ids,
            decoding=task_decoding(self._task),
            partitioner=partitioner,
        )
        labels, self._labels, self._notes = None, None, self._about_decoding()
        try:
            labels = calibrated_labels(self._task, pairs, vocabulary) if calibrated else None
        except DataError as error:  # what is written can be scored without
            self._notes += (str(error),)
        if labels is not None:
            self._labels_N = labels[1][indices]
            self._labels = LabelProbabilities(
                model,
                labels[0],
                vocabulary,
                encoder_length=sizes.encoder_length,
                answer_length=data.answer_length,
                batch_size=sizes.batch_size,
                partitioner=partitioner,
            )

    def _about_decoding(self) -> tuple[str, ...]:
        decoding = self._task.decoding
        return (f"texts are written with {json.dumps(dict(decoding))}",) if decoding else ()

    def __call__(
        self,
        params: Tree,
        *,
        inputs: Sequence[str] | None = None,
        before_output: Callable[[], None] = lambda: None,
    ) -> Scored:
        """Return what the model writes with these parameters.

        Args:
          params: of the model.
          inputs: to answer in place of the stored ones.
          before_output: is called before each; what it raises ends it.
        """
        outputs = []
        given = [
            stored if text == own else self._prompt(text)
            for stored, own, text in zip(self._given, self.inputs, inputs or self.inputs, strict=True)
        ]
        for output in self._generate(params, given):
            before_output()
            outputs.append(output)
        predictions = [output.text for output in outputs]
        results = metric_scores(self._task.metrics, predictions, self._targets)
        texts = inputs or self.inputs
        columns = zip(self._indices, texts, self._targets, outputs, results.of_each, strict=True)
        examples = [
            {
                "example": index,
                "input": given,
                "reference": target[0],
                **({"other_references": target[1:]} if target[1:] else {}),
                "prediction": output.text,
                "input_cut": output.input_cut,
                "output_cut": output.output_cut,
                "scores": own,
            }
            for index, given, target, output, own in columns
        ]
        found = dict(results.of_all)
        if self._labels is not None and inputs is None:
            rows = [self._generate.row(each) for each in given]
            probabilities_NC = self._labels(params, rows)
            found |= calibration(probabilities_NC, self._labels_N)
            for example, own in zip(examples, probabilities_NC.tolist(), strict=True):
                example["probabilities"] = dict(zip(self._labels.names, own, strict=True))
        num_cut = sum(output.output_cut for output in outputs)
        note = (
            f"{num_cut:,} of {len(outputs):,} predictions stop at {self._max_decode_length} tokens, before "
            "their end"
        )
        return Scored(found, examples, (*self._notes, *[note] * bool(num_cut)))


def spelt(vocabulary: Vocabulary, target: np.ndarray, others: Sequence[str]) -> tuple[str, ...]:
    """Return a target and others that are as right, as the vocabulary can spell them, each once."""
    ids = [target, *vocabulary.encode_batch(list(others))]
    return tuple(dict.fromkeys(map(vocabulary.decode, ids)))
