"""Sentence similarity: how alike two sentences are, as people scored them; STS-B's form and its kind."""

from t5lite.tasks.fields import SimilarityScore
from t5lite.tasks.task import Task

SENTENCE_SIMILARITY = Task(
    name="sts",
    about="how alike two sentences are, which vectors are measured by",
    inputs="{sentence1}",
    instruction="Write a sentence that is like this one.\n\n{sentence1}",
    targets="{sentence2}",
    fields={"score": SimilarityScore()},
    labels={"similarity": "score"},
    metrics=("spearman", "pearson"),
    inputs_length=64,
    targets_length=64,
    example={
        "sentence1": "Three more US soldiers killed in Afghanistan",
        "sentence2": "NATO Soldier Killed in Afghanistan",
        "score": 1.8,
    },
)
