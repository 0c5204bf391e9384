"""Classification: the name of a class, whichever there are, written out as text."""

from t5lite.tasks.fields import ClassName
from t5lite.tasks.task import Task

CLASSIFICATION = Task(
    name="classification",
    about="the class that a text is of, by its name",
    inputs="classify: {text}",
    targets="{label}",
    instruction="Which class is this of?\n\n{text}",
    fields={"label": ClassName()},
    metrics=("accuracy", "majority_accuracy", "label_fraction"),
    targets_length=16,
    example={"text": "Emma Woodhouse, handsome, clever, and rich.", "label": "Emma"},
)
