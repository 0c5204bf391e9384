"""Summarisation, in T5's words."""

from t5lite.tasks.task import Task

SUMMARIZATION = Task(
    name="summarization",
    about="a text in a few sentences",
    inputs="summarize: {document}",
    targets="{summary}",
    instruction="Summarize this in a few sentences.\n\n{document}",
    metrics=("rouge1", "rouge2", "rouge_lsum"),
    targets_length=128,
    example={
        "document": "The river rose by two metres overnight. Three villages were cut off. Nobody was hurt.",
        "summary": "A flood cut off three villages; nobody was hurt.",
    },
)
