"""Classification: the label is written out as text."""

from t5lite.tasks.task import Task

CLASSIFICATION = Task(
    name="classification",
    metrics=("accuracy", "majority_accuracy", "label_fraction"),
    has_classes=True,
)
