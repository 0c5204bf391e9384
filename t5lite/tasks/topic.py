"""What a text is about, in the classes of AG News."""

from t5lite.tasks.fields import Label
from t5lite.tasks.task import Task

TOPIC = Task(
    name="topic",
    about="which of four topics the news is of",
    inputs="topic: {text}",
    targets="{label}",
    instruction="What is this about? Answer World, Sports, Business or Sci/Tech.\n\n{text}",
    fields={"label": Label(names=("World", "Sports", "Business", "Sci/Tech"))},
    metrics=("accuracy", "macro_f1", "majority_accuracy", "label_fraction"),
    inputs_length=256,
    targets_length=8,
    example={"text": "The home side won by three goals.", "label": 1},
)
