"""Answers that stand in a text, in SQuAD's form and T5's words."""

from t5lite.tasks.fields import Answers, PaddedPunctuation
from t5lite.tasks.task import Task

EXTRACTIVE_QA = Task(
    name="extractive-qa",
    about="the answer to a question, in the words of a text",
    inputs="question: {question} context: {context}",
    targets="{answers.text}",
    instruction="{context}\n\nAnswer in the words of the text: {question}",
    fields={
        "question": PaddedPunctuation(),
        "context": PaddedPunctuation(),
        "answers.text": Answers(pad_punctuation=True),
    },
    metrics=("exact_match", "token_f1"),
    targets_length=32,
    example={
        "question": "Who won?",
        "context": "The Denver Broncos won.",
        "answers": {"text": ["The Denver Broncos", "Denver Broncos"], "answer_start": [0, 4]},
    },
)
