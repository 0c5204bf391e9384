"""Regression: a number for a text, whichever it is."""

from t5lite.tasks.fields import Number
from t5lite.tasks.task import Task

REGRESSION = Task(
    name="regression",
    about="a number for a text",
    inputs="{text}",
    targets="{label}",
    instruction="Which number belongs to this?\n\n{text}",
    fields={"label": Number()},
    labels={"number": "label"},
    metrics=("pearson", "spearman"),
    inputs_length=128,
    targets_length=16,
    example={"text": "a charming and often affecting journey", "label": 1.7},
)
