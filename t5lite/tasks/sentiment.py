"""Whether a text praises or blames, in the words of T5's SST-2: what that has taught is of use."""

from t5lite.tasks.fields import Label
from t5lite.tasks.task import Task

SENTIMENT = Task(
    name="sentiment",
    about="whether a text praises or blames",
    inputs="sst2 sentence: {text}",
    targets="{label}",
    instruction="What is the sentiment of this? Answer negative or positive.\n\n{text}",
    fields={"label": Label(names=("negative", "positive"))},
    metrics=("accuracy", "majority_accuracy", "label_fraction"),
    inputs_length=256,
    targets_length=8,
    example={"text": "I could not put it down.", "label": "positive"},
)
