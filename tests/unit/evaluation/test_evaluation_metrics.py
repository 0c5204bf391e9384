import pytest
import sacrebleu

from t5lite.core.errors import ConfigError, DataError
from t5lite.core.registry import lookup
from t5lite.evaluation.metrics import accuracy, bleu, chrf, label_fraction, majority_accuracy
from t5lite.evaluation.tasks import TASKS

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


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_every_task_scores_perfect_predictions_highest_and_refuses_nothing(task):
    perfect, worse = task.score(REFERENCES, REFERENCES), task.score(["x", REFERENCES[1]], REFERENCES)
    assert task.name in TASKS
    assert list(perfect) == list(task.metrics)
    assert perfect[task.primary].value > worse[task.primary].value
    assert task.baseline is None or task.baseline in task.metrics
    with pytest.raises(DataError, match="0 predictions against 0 references"):
        task.score([], [])
    with pytest.raises(DataError, match="1 predictions against 2 references"):
        task.score(["x"], REFERENCES)


def test_unknown_task_gets_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'translation'"):
        lookup(TASKS, "translate", kind="task")
