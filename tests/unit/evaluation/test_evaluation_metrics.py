import random
from collections.abc import Sequence

import pytest
import sacrebleu

from t5lite.core.errors import ConfigError, DataError
from t5lite.evaluation.metrics import METRICS, accuracy, bleu, chrf, label_fraction, majority_accuracy
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric
from t5lite.evaluation.metrics.score import Score
from t5lite.evaluation.scoring import check_take_several, find_metric, scores
from t5lite.tasks import TASKS
from t5lite.tasks.opening import open_task

REFERENCES = ["En el principio crió Dios los cielos y la tierra.", "Y vió Dios que la luz era buena."]
PREDICTIONS = ["En el principio Dios crió los cielos.", "Y vió Dios que era buena la luz."]


def test_perfect_translations_score_100_and_carry_a_signature():
    for metric in (bleu, chrf):
        score = metric(REFERENCES, REFERENCES)
        assert score.value == pytest.approx(100)
        assert f"version:{sacrebleu.__version__}" in score.signature


def test_translation_scores_are_corpus_level():
    assert bleu(PREDICTIONS, REFERENCES).value == pytest.approx(
        sacrebleu.corpus_bleu(PREDICTIONS, [REFERENCES]).score
    )
    assert chrf(PREDICTIONS, REFERENCES).value == pytest.approx(
        sacrebleu.corpus_chrf(PREDICTIONS, [REFERENCES]).score
    )
    assert 0 < bleu(PREDICTIONS, REFERENCES).value < 100


def test_classification_scores():
    references = ["Emma", "Emma", "Persuasion", "Emma"]
    predictions = ["Emma", " Persuasion", "Persuasion ", "Em"]
    assert accuracy(predictions, references).value == 0.5
    assert majority_accuracy(predictions, references).value == 0.75
    assert label_fraction(predictions, references).value == 0.75


@pytest.mark.parametrize("name", [*METRICS, "f1:1"])
def test_a_metric_says_whether_it_takes_several_references(name):
    metric = find_metric(name)
    assert isinstance(metric, CorpusMetric)
    if metric.takes_several:
        metric(["1", "2"], [("1", "3"), "2"])
    else:
        with pytest.raises(DataError, match="takes one reference an example"):
            metric(["1", "2"], [("1", "3"), "2"])


OF_TASKS = {
    "sts": ["3.4", "1.8"],
    "stsb": ["3.4", "1.8"],
    "regression": ["1.7", "-0.5"],
    "ner-tags": ["B-PER I-PER O", "O B-LOC"],
    "ner": ["PER: Ada Lovelace; LOC: London", "none"],
    "semantic-roles": ["[ARG0 The cat] [V sat] .", "[ARG1 It] [V fell] ."],
    "mrpc": ["equivalent", "not_equivalent"],
    "qqp": ["duplicate", "not_duplicate"],
}
"""References that are no prose."""


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_task_scores_perfect_predictions_highest_and_refuses_nothing(task):
    references = OF_TASKS.get(task.name, REFERENCES)
    perfect = scores(task.metrics, references, references).of_all
    worse = scores(task.metrics, ["x", references[1]], references).of_all
    assert list(perfect) == list(task.metrics)
    first = next(iter(task.metrics))
    assert perfect[first].value > worse[first].value
    with pytest.raises(DataError, match="0 predictions against 0 references"):
        scores(task.metrics, [], [])
    with pytest.raises(DataError, match="1 predictions against 2 references"):
        scores(task.metrics, ["x"], references)


def test_unknown_task_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'translation'"):
        open_task("translate")
    with pytest.raises(ConfigError, match="did you mean 'bleu'"):
        scores(["blue"], REFERENCES, REFERENCES)


@pytest.mark.parametrize("metric", [bleu, chrf])
def test_error_of_a_corpus_score_shrinks_with_the_number_of_examples(metric):
    def error(count):
        rng = random.Random(0)
        words = ["the", "cat", "sat", "on", "a", "red", "hill", "and", "saw", "some", "dogs", "run", "by"]
        references = [" ".join(rng.choices(words, k=8)) for _ in range(count)]
        predictions = [
            text if rng.random() < 0.5 else " ".join(rng.choices(words, k=8)) for text in references
        ]
        return metric(predictions, references).error

    few, many = error(40), error(1000)
    assert 2 < few / many < 15  # the square root of 25, give or take the noise of either
    assert metric(["a cat sat here"], ["a cat sat here"]).error is None


def test_a_function_is_a_metric_of_texts(monkeypatch):
    """As docs/extending.md has one: it need not know that other metrics take several references."""

    def same_length(predictions: Sequence[str], references: Sequence[str]) -> Score:
        hits = [len(one) == len(other) for one, other in zip(predictions, references, strict=True)]
        return Score(value=sum(hits) / len(hits))

    monkeypatch.setitem(METRICS, "same_length", same_length)
    assert scores(["same_length"], ["ab", "a"], [("ba",), "abc"]).of_all["same_length"].value == 0.5
    with pytest.raises(ConfigError, match=r"one reference an example \(same_length\)"):
        check_take_several(["exact_match", "same_length"], store="data/qa")
