"""Classification: the label is written out as text."""

from t5lite.evaluation import metrics
from t5lite.evaluation.tasks.task import Task

CLASSIFICATION = Task(
    name="classification",
    metrics={
        "accuracy": metrics.accuracy,
        "majority_accuracy": metrics.majority_accuracy,
        "label_fraction": metrics.label_fraction,
    },
)
