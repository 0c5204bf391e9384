"""Translation: any text of which there is a reference."""

from t5lite.evaluation import metrics
from t5lite.evaluation.tasks.task import Task

TRANSLATION = Task(name="translation", metrics={"bleu": metrics.bleu, "chrf": metrics.chrf})
