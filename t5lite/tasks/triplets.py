"""Triplets: a text, one that belongs to it, and one that is like that and does not."""

from t5lite.tasks.task import Task

TRIPLETS = Task(
    name="triplets",
    about="which text belongs to another, beside one that is like it and does not",
    inputs="{anchor}",
    instruction="Write a text that belongs to this one.\n\n{anchor}",
    targets="{positive}",
    labels={"negative": "negative"},
    metrics=("bleu", "chrf"),
    inputs_length=64,
    targets_length=64,
    example={
        "anchor": "Two dogs run through the snow.",
        "positive": "Animals are outside in winter.",
        "negative": "Two dogs sleep by the fire.",
    },
)
